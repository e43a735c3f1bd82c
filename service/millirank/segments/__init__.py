"""Queries whose right answers a rule finds in the catalogue itself: no click, no label, no ranker has a say.

| segment | queries | right |
| --- | --- | --- |
| model-number | numbers that one product alone carries | that product |
| brand | brands | every product of the brand |
| type | types, by category and title | every product of the type |
| brand-misspelled, type-misspelled | the same with one slip | as of the correct form, which `meant` names |
| title-misspelled, title-less-two | titles with a slip, titles less two words | the products with that title |
| long | a type, a brand and two facts in a phrase | products of the type: 3 with all three, 2 with two of them |
| no-answer | made-up words, things the shop does not sell | nothing |

Rules miss right products (a type that the title does not name), so compare orders on a segment; a figure alone is low.
Model numbers and titles have no such gap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Any

from millirank.evaluation.judgments import Segment

from .absent import absent
from .numbers import model_numbers
from .phrases import long_queries
from .texts import Texts, words
from .titles import less_two_words, one_word_misspelled
from .types import Types
from .typos import LEAST, misspelled_query

__all__ = ["NAMES", "RIGHT", "segments"]

NAMES = (
    "model-number",
    "brand",
    "brand-misspelled",
    "type",
    "type-misspelled",
    "title-misspelled",
    "title-less-two",
    "long",
    "no-answer",
)
RIGHT = 3  # the grade of a right product
SLIPS = 20  # misspellings of one query at most


def segments(products: Sequence[Mapping[str, Any]], *, seed: int = 7, count: int = 300) -> dict[str, Segment]:
    """Makes the segments of a catalogue, by NAMES.

    Args:
        products: of one catalogue, as `Snapshot.products` gives them; their order matters.
        seed: decides what is drawn.
        count: queries of each segment at most; a catalogue may have fewer brands and types.

    Returns:
        The same segments in any process. No query stands in two of them.
    """
    texts = Texts(products)
    types = Types(texts)
    draws = {name: Random(f"{seed} {name}") for name in NAMES}  # noqa: S311 - not a secret
    numbers = model_numbers(texts)
    brands = _brands(texts)
    kinds = {name: types.rows(name) for name in types.names}
    made: dict[str, dict[str, dict[int, int]]] = {}
    taken: set[str] = set()

    def keep(name: str, found: Iterable[tuple[str, Mapping[int, int]]]) -> None:
        new = ((query, dict(grades)) for query, grades in found if query not in taken)
        made[name] = dict(islice(new, count))
        taken.update(made[name])

    keep("model-number", ((number, {numbers[number]: RIGHT}) for number in _shuffled(numbers, draws["model-number"])))
    keep("brand", ((name, _right(brands[name])) for name in _shuffled(brands, draws["brand"])))
    keep("type", ((name, _right(kinds[name])) for name in _shuffled(kinds, draws["type"])))
    meant = {}
    for name in ("brand", "type"):
        slips = dict(_slips(made[name], texts, count, draws[f"{name}-misspelled"]))
        keep(f"{name}-misspelled", ((wrong, made[name][query]) for wrong, query in slips.items()))
        meant[f"{name}-misspelled"] = {wrong: slips[wrong] for wrong in made[f"{name}-misspelled"]}
    keep("title-misspelled", _all_right(one_word_misspelled(texts, draws["title-misspelled"])))
    keep("title-less-two", _all_right(less_two_words(texts, draws["title-less-two"])))
    keep("long", long_queries(texts, types, draws["long"]))
    keep("no-answer", ((query, {}) for query in absent(texts, count, draws["no-answer"])))
    return {
        name: Segment(
            {query: {texts.ids[row]: grade for row, grade in grades.items()} for query, grades in made[name].items()},
            meant.get(name, {}),
        )
        for name in NAMES
    }


def _brands(texts: Texts) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for row, product in enumerate(texts.products):
        if words(str(product.get("brand", ""))):
            found.setdefault(str(product["brand"]).casefold(), set()).add(row)
    return found


def _slips(queries: Iterable[str], texts: Texts, count: int, rng: Random) -> Iterator[tuple[str, str]]:
    """Misspelled queries and what was meant, every query once before one comes again."""
    usable = [query for query in queries if any(len(part) >= LEAST for part in query.split(" "))]
    found: set[str] = set()
    for _ in range(SLIPS):
        for query in usable:
            wrong = misspelled_query(query, texts.vocabulary, rng)
            if wrong is not None and wrong not in found and len(found) < count:
                found.add(wrong)
                yield wrong, query


def _shuffled(names: Iterable[str], rng: Random) -> list[str]:
    ordered = sorted(names)
    return rng.sample(ordered, len(ordered))


def _right(rows: Iterable[int]) -> dict[int, int]:
    return dict.fromkeys(sorted(rows), RIGHT)


def _all_right(found: Iterable[tuple[str, set[int]]]) -> Iterator[tuple[str, dict[int, int]]]:
    return ((query, _right(rows)) for query, rows in found)
