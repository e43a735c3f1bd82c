"""Long queries: a type, a brand and facts of a product, as somebody would say them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from .texts import Texts
from .types import Types

FACTS = 2  # of attributes, besides the brand
LEAST = 2  # of brand and facts, that an answer has
PRODUCTS = 5  # that share a fact at least
PHRASES = (
    "{brand} {type} {first} {second}",
    "i am looking for a {type} from {brand} {first} and {second}",
    "{type} by {brand} {first}, {second}",
    "which {brand} {type} comes {first} {second}",
    "need a new {type} {first} and {second}, preferably {brand}",
)
_VALUE = re.compile(r"[^\W\d_]{3,}( [^\W\d_]{2,})?")
_EMPTY = frozenset({"true", "false", "yes", "none", "not available", "not supported", "unknown", "other"})
_UNSAID = (
    "type",
    "categor",
    "model",
    "kind",
    "country",
    "certification",
    "compat",
    "status",
    "software",
    "segment",
)  # the type again, or no wish

Fact = tuple[str, str]  # name and value of an attribute, folded


def long_queries(texts: Texts, types: Types, rng: Random) -> Iterator[tuple[str, dict[int, int]]]:
    """Queries for a type, a brand and two facts, with the grades of every product of the type.

    A product of the type has grade 3 with brand and both facts and 2 with two of the three; all others are left out.
    """
    told = [_facts(product) for product in texts.products]
    often = Counter(fact for facts in told for fact in facts)
    by_fact: defaultdict[Fact, set[int]] = defaultdict(set)
    by_brand: defaultdict[str, set[int]] = defaultdict(set)
    for row, (product, facts) in enumerate(zip(texts.products, told, strict=True)):
        by_brand[str(product.get("brand", "")).casefold()].add(row)
        for fact in facts:
            by_fact[fact].add(row)
    names = set(types.names)
    for row in rng.sample(range(len(told)), len(told)):
        brand = str(texts.products[row].get("brand", "")).casefold()
        kinds = [name for name in types.of[row] if name in names]
        said = {brand, *kinds}
        by_value = {value: (name, value) for name, value in sorted(told[row]) if often[name, value] >= PRODUCTS}
        usable = [fact for value, fact in by_value.items() if value not in said]
        if len(usable) < FACTS or not brand or not kinds:
            continue
        first, second = rng.sample(usable, FACTS)
        phrase = rng.choice(PHRASES).format(type=kinds[0], brand=brand, first=_said(*first), second=_said(*second))
        wanted = (by_brand[brand], by_fact[first], by_fact[second])
        grades = {other: sum(other in rows for rows in wanted) for other in sorted(types.rows(kinds[0]))}
        yield phrase, {other: grade for other, grade in grades.items() if grade >= LEAST}


def _facts(product: Mapping[str, Any]) -> set[Fact]:
    pairs = ((name.casefold(), str(value).casefold()) for name, value in product.get("attributes", {}).items())
    return {
        (name, value)
        for name, value in pairs
        if _VALUE.fullmatch(value) and value not in _EMPTY and not any(part in name for part in _UNSAID)
    }


def _said(name: str, value: str) -> str:
    if "colo" in name:
        return f"in {value}"
    return f"with {value} {' '.join(part for part in name.split('_') if len(part) > 1)}"
