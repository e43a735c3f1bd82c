"""Products from the tables: models first, then the variants of each model, accessories after what they fit."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, repeat
from typing import Any

from millirank.demo.brands import LETTERS, MAKERS, NAMES, TIER
from millirank.demo.catalog import KINDS
from millirank.demo.dice import Dice
from millirank.demo.kinds import Facts, Kind

WORDS = (15, 45)  # a description's length
MORE = 0.6  # of the descriptions go on for another sentence
TRIES = 400  # draws for one model before the table counts as exhausted
VARIANTS = 3  # of one model, at most
ARTICLE = re.compile(r"(?<![\w-])([Aa]) (?=[aei]|o(?!ne)|u(?!s|ni)|8|11\b|18\b|SSD|LED|LCD|HDMI)")
CAPITAL = re.compile(r"^[a-z](?!/)|(?<=[^0-9] )(?!a |and |of |to |in |for |with )[a-z]")  # not a unit, not a small word


@dataclass(frozen=True)
class Model:
    """What the variants of one product share."""

    brand: str
    name: str  # empty where shops give none
    facts: Mapping[str, str]
    price: float  # EUR, before the factors of a variant

    @property
    def title(self) -> str:
        """What accessories call it."""
        return f"{self.brand} {self.name}"


class _Words(dict[str, str]):
    """Facts for a template: {Colour} is {colour} with capitals."""

    def __missing__(self, key: str) -> str:
        low = key[:1].lower() + key[1:]
        if low == key or low not in self:
            raise KeyError(key)
        return _capitals(self[low])


def _capitals(text: str) -> str:
    return CAPITAL.sub(lambda match: match[0].upper(), text)


def products(seed: int = 7) -> Iterator[dict[str, Any]]:
    """Yield the shop's products: the same for the same seed, on every machine and Python.

    Each has the fields of the catalogue contract; `price` is in `currency`, `attributes` maps strings to strings and
    always holds `type`, and `compatible_with` ("brand model") where the product belongs to another one.
    """
    made: dict[str, list[Model]] = {}
    for place, kind in enumerate(KINDS):
        made[kind.name] = []
        titles: set[str] = set()
        for model, facts, price in _variants(kind, made, Dice(seed, kind.name)):
            number = len(titles) + 1
            product = _product(
                kind, model, facts, price, str(100_000 + 1000 * place + number), Dice(seed, kind.name, number)
            )
            if product["title"] not in titles:
                titles.add(product["title"])
                if model not in made[kind.name]:
                    made[kind.name].append(model)
                yield product
            if len(titles) == kind.count:
                break
        else:
            raise ValueError(f"{kind.name}: {kind.count} products cannot be told apart: give its table more options")


def _variants(kind: Kind, made: dict[str, list[Model]], dice: Dice) -> Iterator[tuple[Model, dict[str, str], float]]:
    mains = dice.shuffled(made[kind.fits[0]]) if kind.fits else []
    names: dict[str, Iterator[str]] = {}
    seen: set[tuple[str, ...]] = set()
    for line in range(TRIES):
        model = _model(kind, mains[line % len(mains)] if mains else None, line, names, dice)
        for _ in range(1 + dice.below(VARIANTS)):
            facts, factor = _draw(kind.each, dice)
            facts = {**model.facts, **facts}
            key = (model.brand, model.name, *facts.values())
            if key not in seen:
                seen.add(key)
                yield model, facts, _price(model.price * factor, dice)


def _model(kind: Kind, main: Model | None, line: int, names: dict[str, Iterator[str]], dice: Dice) -> Model:
    makers = [name for group in kind.makers for name in ([""] if group == "own" else MAKERS[group])]
    brand = (dice.pick(makers) if main else makers[line % len(makers)]) or (main.brand if main else "")
    if brand not in names:
        names[brand] = _names(kind, brand)
    facts, factor = _draw(kind.line, dice)
    if main:
        origin = "original" if brand == main.brand else "compatible"
        facts |= {"fits": main.title, **{fact: main.facts[fact] for fact in kind.fits[1:]}, "origin": origin}
        factor *= 1.25 if origin == "original" else 1
    low, high = kind.price
    level = 0.6 * TIER.get(brand, 0.5) + 0.4 * dice.unit()
    return Model(brand, next(names[brand]), facts, (low + (high - low) * level * level) * factor)


def _names(kind: Kind, brand: str) -> Iterator[str]:
    """Yield a brand's model names; they do not depend on the seed, so that queries can name a model."""
    dice = Dice("names", kind.name, brand)
    slot = _slot(kind, brand)
    if kind.naming == "none":
        yield from repeat("")
    if kind.naming in NAMES:
        words = Dice("names", kind.naming, brand).shuffled(NAMES[kind.naming])
        for turn in count(1):
            for index in range(len(words)):
                word = words[(index + 7 * slot) % len(words)]
                yield word if turn == 1 else f"{word} {turn}"
    short = kind.naming == "short"
    letters = LETTERS.get(brand) or "".join(re.findall("[B-DF-HJ-NP-TV-Z]", brand.upper())[:2])
    stem = ("W" if slot else letters) if short else f"{letters}-"
    number = 5 + dice.below(2) if short else 1000 * slot + 10 * (11 + dice.below(40))
    while True:
        yield f"{stem}{number}"
        if dice.unit() < 0.5:  # noqa: PLR2004  # half of the models have a sibling
            yield f"{stem}{number}{dice.pick((' Pro', ' Lite', ' Plus') if short else ('S', 'X', 'W', 'T'))}"
        number += 1 if short else 10 * (1 + dice.below(4))


def _slot(kind: Kind, brand: str) -> int:
    """Count the earlier types whose models the brand names in the same way: a name means one type only."""
    earlier = KINDS[: KINDS.index(kind)]
    return sum(brand in _makers(other) for other in earlier if other.naming == kind.naming)


def _makers(kind: Kind) -> set[str]:
    own = _makers(next(main for main in KINDS if main.name == kind.fits[0])) if "own" in kind.makers else set()
    return own | {brand for group in kind.makers if group != "own" for brand in MAKERS[group]}


def _draw(table: Facts, dice: Dice) -> tuple[dict[str, str], float]:
    facts: dict[str, str] = {}
    factor = 1.0
    for name, options in table.items():
        option = dice.pick(options)
        facts[name] = option.value
        factor *= option.factor
    return facts, factor


def _price(amount: float, dice: Dice) -> float:
    if amount < 20:  # noqa: PLR2004  # shops end small prices in .49 too
        return max(1, int(amount)) + dice.pick((0.49, 0.95, 0.99))
    if amount < 100:  # noqa: PLR2004  # and large ones on a nine
        return int(amount) + dice.pick((0.0, 0.9, 0.95, 0.99))
    return 10 * int(amount / 10) + dice.pick((9.0, 9.0, 4.99, 9.99))


def _product(kind: Kind, model: Model, facts: dict[str, str], price: float, number: str, dice: Dice) -> dict[str, Any]:
    words = _Words({**facts, "brand": model.brand, "model": model.name})
    title = _fill(dice.pick([title.text for title in kind.titles]), _Words({k: _capitals(v) for k, v in words.items()}))
    shown = {name: value for name, value in facts.items() if value and name != "fits"}
    if "fits" in facts:
        shown["compatible_with"] = facts["fits"]
    if model.name:
        shown["model"] = model.name
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return {
        "id": number,
        "title": title,
        "brand": model.brand,
        "description": _description(kind, words, title, dice),
        "category": kind.category,
        "price": round(price, 2),
        "currency": "EUR",
        "in_stock": dice.unit() < 0.9,  # noqa: PLR2004  # one in ten is sold out
        "url": f"https://shop.example/p/{slug}-{number}",
        "image_url": f"https://img.shop.example/{number}.jpg",
        "attributes": {"type": kind.name, **shown},
    }


def _description(kind: Kind, words: _Words, title: str, dice: Dice) -> str:
    leads = dice.shuffled([lead.text for lead in kind.leads if lead.holds(words)])
    says = dice.shuffled([say for say in kind.says if say.holds(words)])
    says.sort(key=lambda say: not say.value or say.value.lower() in title.lower())  # first what the title does not tell
    text = _fill(leads[0], words)
    for index, say in enumerate([*(say.text for say in says), *leads[1:]]):
        longer = f"{text} {_fill(say, words)}"
        short = len(text.split()) < WORDS[0]
        wanted = short or index == 0 or (index < len(says) and dice.unit() < MORE)
        if wanted and len(longer.split()) <= WORDS[1]:
            text = longer
        elif not short:
            break
    return text


def _fill(template: str, words: _Words) -> str:
    text = re.sub(r"\s+", " ", template.format_map(words))
    text = re.sub(r"\b(\w+) \1\b", r"\1", text)  # the maker's own accessory: its brand stands in {fits} too
    text = re.sub(r"(?: ,)+|,(?: ?,)+", ",", text).strip(" ,/")
    return ARTICLE.sub(r"\1n ", text)
