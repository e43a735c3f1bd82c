"""Pseudo-queries: what shoppers might type, by rule from a catalogue that has no clicks, in stated proportions."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .facts import Facts
from .misspell import misspelt
from .words import STOP, normal, reserved

LONGEST = 3  # words
OFTEN = 0.13  # an n-gram in more of the titles than this says too little
KINDS: Mapping[str, float] = {  # part of all pseudo-queries, as far as the catalogue has so many
    "type": 0.14,
    "brand": 0.02,
    "brand type": 0.18,
    "attribute": 0.18,  # a colour or a size, and a type
    "model": 0.16,
    "misspelt": 0.10,
    "phrase": 0.10,  # usb cable for hp in black
    "words": 0.12,  # title n-grams
}
_BREAK = re.compile(r"[,;:()\[\]/|\"]+|\s[-\u2013]\s")  # no n-gram runs across these
_WORD = re.compile(r"\w+(?:[.\-+]\w+)*")


@dataclass(frozen=True)
class Wanted:
    """What a pseudo-query asks for, as facts of a product; "" and None ask for nothing."""

    type: str = ""
    brand: str = ""
    model: str = ""
    belongs: str = ""
    colour: str = ""
    size: tuple[str, float] | None = None  # unit and value


@dataclass(frozen=True)
class Pseudo:
    """A pseudo-query."""

    text: str
    kind: str  # one of KINDS
    wanted: Wanted | None = None  # None where no rule tells what is right
    meant: str = ""  # the text as it is spelt right, if it is not

    @property
    def read(self) -> str:
        """The words that a teacher should read."""
        return self.meant or self.text

    @property
    def reserved(self) -> bool:
        """Whether it is kept for evaluation: by its model number, however that is asked for, or else by its words."""
        return reserved(self.wanted.model if self.wanted and self.wanted.model else self.read)


@dataclass(frozen=True)
class Drawn:
    """How many pseudo-queries to draw, and which never."""

    count: int
    held_out: Collection[str] = ()  # queries, in any form
    evaluation: bool = False  # draw only of the fifth that training leaves alone, instead of the others
    kinds: Mapping[str, float] | None = None  # None takes KINDS


def pseudo_queries(
    titles: Sequence[str], facts: Sequence[Facts], drawn: Drawn, rng: np.random.Generator
) -> list[Pseudo]:
    """Draws distinct pseudo-queries, kind by kind; a kind that the catalogue has too few of leaves its share to others.

    Args:
        titles: of one catalogue.
        facts: of the same products.
        drawn: how many, and which never.
        rng: decides what is drawn.

    Returns:
        At most drawn.count, in an order that the catalogue and rng alone decide.
    """
    barred = {normal(query) for query in drawn.held_out}
    pools = _pools(titles, facts, rng)
    shares = drawn.kinds or KINDS
    taken: set[str] = set()
    ready: dict[str, list[Pseudo]] = {}
    for kind in shares:
        usable = []
        for query in pools[kind]:
            forms = {normal(query.text), normal(query.read)}
            if query.reserved == drawn.evaluation and not forms & barred and query.text not in taken:
                taken.add(query.text)
                usable.append(query)
        ready[kind] = [usable[i] for i in rng.permutation(len(usable))]
    return [query for kind, n in _quotas(shares, ready, drawn.count).items() for query in ready[kind][:n]]


def _quotas(shares: Mapping[str, float], ready: Mapping[str, Sequence[Pseudo]], count: int) -> dict[str, int]:
    """How many of each kind: its share, and what others cannot give, as far as there are so many."""
    quotas = dict.fromkeys(shares, 0)
    while (left := count - sum(quotas.values())) > 0:
        open_kinds = [kind for kind in shares if quotas[kind] < len(ready[kind])]
        if not open_kinds:
            break
        whole = sum(shares[kind] for kind in open_kinds)
        for kind in open_kinds:
            more = min(max(1, int(left * shares[kind] / whole)), count - sum(quotas.values()))
            quotas[kind] = min(len(ready[kind]), quotas[kind] + more)
    return quotas


def _pools(titles: Sequence[str], facts: Sequence[Facts], rng: np.random.Generator) -> dict[str, list[Pseudo]]:
    """Every pseudo-query that the catalogue gives, by kind, in an order that no hash decides."""
    types = Counter(fact.type for fact in facts if fact.type)
    heads = Counter(tail for kind in types for tail in _tails(kind))
    brands = Counter((fact.brand, fact.maker) for fact in facts if fact.brand)
    pools: dict[str, set[Pseudo]] = {kind: set() for kind in KINDS}
    pools["type"] = {
        Pseudo(form, "type", Wanted(type=kind)) for kind in {*types, *heads} for form in (kind, f"{kind}s")
    }
    pools["brand"] = {Pseudo(maker, "brand", Wanted(brand=brand)) for (brand, maker), n in brands.items() if n > 1}
    for fact in facts:
        for query in _of(fact):
            pools[query.kind].add(query)
    pools["words"] = {Pseudo(text, "words") for text in _shared_ngrams(titles)}
    made = {kind: sorted(pool, key=lambda query: (query.text, repr(query.wanted))) for kind, pool in pools.items()}
    right = [*made["type"], *made["brand type"], *made["attribute"]]
    made["misspelt"] = [
        replace(query, text=wrong, kind="misspelt", meant=query.text)
        for query in right
        if (wrong := misspelt(query.text, rng)) != query.text
    ]
    return made


def _tails(kind: str) -> Iterator[str]:
    """The shorter names of a type: a fiber patch cable is a patch cable and a cable."""
    words = kind.split()
    for start in range(1, len(words)):
        yield " ".join(words[start:])


def _of(fact: Facts) -> Iterator[Pseudo]:
    """What one product could be looked for by, apart from its type and its brand alone."""
    brand, maker, kind = fact.brand, fact.maker, fact.type
    yield from _numbers(fact)
    if not kind:
        return
    short = kind.split()[-1]
    if brand:
        yield Pseudo(f"{maker} {kind}", "brand type", Wanted(kind, brand))
        yield Pseudo(f"{kind} {maker}", "brand type", Wanted(kind, brand))
        yield Pseudo(f"{maker} {short}", "brand type", Wanted(short, brand))
        yield Pseudo(f"{kind}s from {maker}", "phrase", Wanted(kind, brand))
    for colour in sorted(fact.colours):
        yield Pseudo(f"{colour} {kind}", "attribute", Wanted(kind, colour=colour))
        yield Pseudo(f"{kind} in {colour}", "phrase", Wanted(kind, colour=colour))
        if brand:
            yield Pseudo(f"{colour} {kind} by {maker}", "phrase", Wanted(kind, brand, colour=colour))
    for unit, values in sorted(fact.sizes.items()):
        for value in sorted(values):
            size = f"{value:g} {unit}" if unit == "in" else f"{value:g}{unit}"
            yield Pseudo(f"{size} {kind}", "attribute", Wanted(kind, size=(unit, value)))
            yield Pseudo(f"{short} {size}", "attribute", Wanted(short, size=(unit, value)))
    for other in sorted(fact.belongs):
        yield Pseudo(f"{short} for {other}", "phrase", Wanted(short, belongs=other))


def _numbers(fact: Facts) -> Iterator[Pseudo]:
    """A product's model numbers, alone and with its brand or type."""
    for model in fact.models:
        wanted = Wanted(brand=fact.brand, model=model)
        yield Pseudo(model, "model", wanted)
        if fact.brand:
            yield Pseudo(f"{fact.maker} {model}", "model", wanted)
        if fact.type:
            yield Pseudo(f"{fact.type} {model}", "model", replace(wanted, type=fact.type))


def _shared_ngrams(titles: Sequence[str]) -> list[str]:
    """The n-grams of 1 to 3 words that at least 4 (in small catalogues 2) and at most 13 % of titles have."""
    least = int(np.clip(round(4 * (len(titles) / 20_000) ** 0.5), 2, 4))
    most = max(least, int(OFTEN * len(titles)))
    found: Counter[str] = Counter()
    for title in titles:
        found.update(set(_ngrams(title)))
    return [ngram for ngram, n in found.items() if least <= n <= most]


def _ngrams(title: str) -> Iterator[str]:
    for part in _BREAK.split(title.casefold()):
        words = _WORD.findall(part)
        for length in range(1, LONGEST + 1):
            for start in range(len(words) - length + 1):
                ngram = words[start : start + length]
                if _is_query(ngram):
                    yield " ".join(ngram)


def _is_query(words: Sequence[str]) -> bool:
    """Whether it could be typed: something is named, and it neither begins nor ends with a particle."""
    named = any(len(w) > 1 and w.isalpha() for w in words if w not in STOP)
    return named and words[0] not in STOP and words[-1] not in STOP
