"""Grades by rule: what a query asks for, held against the catalogue's facts; no ranker has a say."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from millirank.demo.catalog import KINDS
from millirank.demo.dice import Dice
from millirank.demo.generator import products
from millirank.demo.queries import QUERIES, DemoQuery

Product = Mapping[str, Any]

PERFECT, NEAR, RELATED, WRONG = 3, 2, 1, 0
KEPT = 20  # of the related products, and of the wrong ones: those above are kept in full
WORDS = re.compile(r"[a-z0-9]+")
IDLE = frozenset(
    WORDS.findall("a against and at for from good help in is it make my of on something that the to where with")
)
FITS: dict[str, str] = {kind.name: kind.fits[0] for kind in KINDS if kind.fits}


@dataclass(frozen=True)
class Term:
    """One wanted fact."""

    fact: str
    values: tuple[str, ...]
    part: bool  # a value need only stand in the fact
    cost: int  # grades lost where it is missing

    def holds(self, product: Product) -> bool:
        """Say whether the product has the fact."""
        name = "compatible_with" if self.fact == "for" else self.fact
        found = product["brand"] if name == "brand" else product["attributes"].get(name, "")
        return any(value in found for value in self.values) if self.part else found in self.values


@dataclass(frozen=True)
class Want:
    """One alternative of a clause: a type and facts."""

    type: str
    terms: tuple[Term, ...]

    def grade(self, product: Product) -> int:
        """Return 3 less what is missing; 0 for another type."""
        if product["attributes"]["type"] != self.type:
            return WRONG
        return max(WRONG, PERFECT - sum(term.cost for term in self.terms if not term.holds(product)))


def wants(clause: str) -> tuple[Want, ...]:
    """Read a clause of `queries.py`; ValueError names what cannot be read."""
    return tuple(_want(text) for text in clause.split(" / ") if text)


def _want(text: str) -> Want:
    name, *facts = (part.strip() for part in text.split(" & "))
    if all(kind.name != name for kind in KINDS):
        raise ValueError(f"{text!r}: no product type is called {name!r}: see the tables for the names")
    return Want(name, tuple(_term(fact) for fact in facts))


def _term(text: str) -> Term:
    match = re.fullmatch(r"(\w+)([=~])(.+?)(!*)", text)
    if match is None:
        raise ValueError(
            f"{text!r}: write fact=value, fact=value,value or fact~part, and ! for what must not be missing"
        )
    return Term(match[1], tuple(match[3].split(",")), match[2] == "~", 1 + len(match[4]))


def queries() -> list[DemoQuery]:
    """Return the demo's queries, each with its `kind`."""
    return list(QUERIES)


def judgments(seed: int = 7) -> Iterator[tuple[str, str, int]]:
    """Yield (query, product id, grade) for the catalogue of the same seed.

    3 is what is asked for, 2 nearly so, 1 related (the accessory of it, the thing of an accessory), 0 wrong although it
    shares words. All 3 and 2 are judged; of the related and of the wrong ones at most 20 each. A query for which this
    seed made nothing perfect is left out; with the default seed none is.
    """
    shop = Shop(products(seed))
    for query in QUERIES:
        judged = judge(query, shop)
        if judged[0][1] == PERFECT:
            for product, grade in judged:
                yield query.text, product["id"], grade


class Shop:
    """A catalogue, laid out by type, department and word of the title."""

    def __init__(self, catalogue: Iterable[Product]) -> None:
        self.types: dict[str, list[Product]] = defaultdict(list)
        self.departments: dict[str, list[Product]] = defaultdict(list)
        self.words: dict[str, list[Product]] = defaultdict(list)
        for product in catalogue:
            self.types[product["attributes"]["type"]].append(product)
            self.departments[_department(product)].append(product)
            for word in _stems(product["title"]):
                self.words[word].append(product)


def judge(query: DemoQuery, shop: Shop) -> list[tuple[Product, int]]:
    """Return the judged products of one query, best first."""
    asks, near, related = wants(query.asks), wants(query.near), wants(query.related)
    named = {want.type for want in (*asks, *near, *related)}
    touched = [kind.name for kind in KINDS if {kind.name, *kind.fits[:1]} & named]
    touched += [FITS[name] for name in touched if name in FITS and FITS[name] not in touched]
    grades: list[tuple[Product, int]] = []
    for product in (product for name in dict.fromkeys(touched) for product in shop.types[name]):
        grade = max(want.grade(product) for want in asks)
        if any(want.grade(product) == PERFECT for want in near):
            grade = max(grade, NEAR)
        if any(want.grade(product) == PERFECT for want in related):
            grade = max(grade, RELATED)
        grades.append((product, grade))
    perfect = [product for product, grade in grades if grade == PERFECT]
    things = {_self(product) for product in perfect}  # their accessories are related
    mains = {_main(product) for product in perfect}  # and so is what a perfect accessory is for
    grades = [
        (product, max(grade, RELATED if _main(product) in things or _self(product) in mains else WRONG))
        for product, grade in grades
    ]
    dice = Dice("judgments", query.text)
    kept = [pair for wanted in (PERFECT, NEAR) for pair in grades if pair[1] == wanted]
    some = dice.shuffled([pair for pair in grades if pair[1] == RELATED])[:KEPT]
    right = {product["id"] for product, grade in grades if grade > WRONG}
    return [*kept, *some, *((product, WRONG) for product in _wrong(query, shop, right, dice))]


def _wrong(query: DemoQuery, shop: Shop, right: set[str], dice: Dice) -> list[Product]:
    """Take wrong products that share words with the query, most words first, then neighbours on the shelf."""
    found = {
        product["id"]: product
        for word in sorted(_stems(query.words) - IDLE)
        for product in shop.words.get(word, ())
        if product["id"] not in right
    }
    asked = _stems(query.words) - IDLE
    order = sorted(dice.shuffled(list(found.values())), key=lambda product: -len(asked & _stems(product["title"])))
    if len(order) < KEPT:
        shelf = shop.departments[_department(shop.types[wants(query.asks)[0].type][0])]
        order += dice.shuffled([product for product in shelf if product["id"] not in right | found.keys()])
    return order[:KEPT]


def _department(product: Product) -> str:
    name: str = product["category"].split(" > ")[0]
    return name


def _self(product: Product) -> tuple[str, str]:
    facts = product["attributes"]
    return facts["type"], f"{product['brand']} {facts.get('model', '')}"


def _main(product: Product) -> tuple[str, str] | None:
    facts = product["attributes"]
    return (FITS[facts["type"]], facts["compatible_with"]) if facts["type"] in FITS else None


@lru_cache(maxsize=8192)
def _stems(text: str) -> frozenset[str]:
    return frozenset(word if len(word) < 4 else word.removesuffix("s") for word in WORDS.findall(text.lower()))  # noqa: PLR2004
