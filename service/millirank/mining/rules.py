"""How right a product is for a pseudo-query, by rule, and the wrong products that are easily taken for right ones."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .facts import Facts, is_a
from .queries import Wanted

BEST = 3.0  # the grade of a product that is all that was wanted
_MISSING = 1.0  # taken off for each fact that it lacks
_RELATED = 1.0  # the grade of a product that names the type, but is none
_DIGITS = re.compile(r"\d+")


def grade(wanted: Wanted, facts: Facts) -> float:
    """How right a product is: 3 is all that was wanted, 0 is wrong.

    Another model of the brand (and type) is worth 1, another size, colour or brand takes 1 each off, an accessory of
    the type is worth nothing, and what only names the type in its title is worth 1.
    """
    if wanted.model:
        same = wanted.brand == facts.brand and (not wanted.type or is_a(facts.type, wanted.type))
        return BEST if wanted.model in facts.models else _RELATED * same
    if wanted.type and not is_a(facts.type, wanted.type):
        accessory = any(is_a(other, wanted.type) for other in facts.belongs)
        return _RELATED if not accessory and set(wanted.type.split()) <= facts.words else 0.0
    lacks = int(bool(wanted.brand) and wanted.brand != facts.brand)
    lacks += bool(wanted.colour) and wanted.colour not in facts.colours
    lacks += bool(wanted.belongs) and wanted.belongs not in facts.belongs
    if wanted.size is not None:
        unit, value = wanted.size
        lacks += value not in facts.sizes.get(unit, ())
    if wanted.brand and not wanted.type:
        return BEST * (not lacks)
    return max(0.0, BEST - _MISSING * lacks)


def grades(wanted: Wanted, facts: Sequence[Facts], rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
    """The grade of each of those products; NaN where a type is wanted and no rule knows the product's."""
    found = [grade(wanted, facts[row]) if facts[row].type or not wanted.type else np.nan for row in rows]
    return np.array(found, np.float32)


class Negatives:
    """Finds right and nearly right products of a catalogue by their facts."""

    def __init__(self, facts: Sequence[Facts]) -> None:
        """Indexes the facts of every product, in the order of rows."""
        self.facts = facts
        self._types: defaultdict[str, list[int]] = defaultdict(list)
        self._made_for: defaultdict[str, list[int]] = defaultdict(list)
        self._brands: defaultdict[str, list[int]] = defaultdict(list)
        self._models: defaultdict[str, list[int]] = defaultdict(list)
        for row, fact in enumerate(facts):
            words = fact.type.split()
            for start in range(len(words)):
                self._types[" ".join(words[start:])].append(row)
            for other in fact.belongs:
                self._made_for[other].append(row)
            self._brands[fact.brand].append(row)
            for model in fact.models:
                self._models[model].append(row)

    def right(self, wanted: Wanted) -> list[int]:
        """Rows that are all that was wanted, in order."""
        if wanted.model:
            among = self._models[wanted.model]
        else:
            among = self._types[wanted.type] if wanted.type else self._brands[wanted.brand]
        return [row for row in among if grade(wanted, self.facts[row]) == BEST]

    def wrong(self, wanted: Wanted, rng: np.random.Generator) -> Iterator[int]:
        """Rows that look right and are not, a sort in turn: other models, accessories, other sizes, colours or brands.

        Args:
            wanted: what a pseudo-query asks for.
            rng: decides the order within a sort, but for models, where the nearest number comes first.
        """
        sorts = [sort for sort in (self._neighbours(wanted), *self._lacking(wanted, rng)) if sort]
        for turn in range(max(map(len, sorts), default=0)):
            yield from (sort[turn] for sort in sorts if turn < len(sort))

    def _neighbours(self, wanted: Wanted) -> list[int]:
        """Other models of the same brand, those with the nearest numbers first."""
        if not wanted.model:
            return []
        number = _number(wanted.model)
        others = [(row, self.facts[row]) for row in self._brands[wanted.brand]]
        near = [
            (min(abs(_number(model) - number) for model in fact.models), row)
            for row, fact in others
            if fact.models and wanted.model not in fact.models and (not wanted.type or is_a(fact.type, wanted.type))
        ]
        return [row for _, row in sorted(near)]

    def _lacking(self, wanted: Wanted, rng: np.random.Generator) -> Iterator[list[int]]:
        """Accessories, and products of the type that lack one thing of what was wanted."""
        if not wanted.type or wanted.model:
            return
        yield rng.permutation(self._made_for[wanted.type]).astype(int).tolist()
        lacking = [row for row in self._types[wanted.type] if grade(wanted, self.facts[row]) == BEST - _MISSING]
        yield rng.permutation(lacking).astype(int).tolist()


def _number(model: str) -> int:
    """The digits of a model number, as one."""
    return int("".join(_DIGITS.findall(model)) or 0)
