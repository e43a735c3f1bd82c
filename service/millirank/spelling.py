"""Corrects words of a query that neither the catalogue nor the language knows: one or two slips, two words as one."""

import re
from collections.abc import Callable, Collection, Iterator
from itertools import islice, pairwise
from typing import Protocol

from .keyboard import NEIGHBOURS

LETTERS = 4  # of a word that is corrected, at least
LONGEST = 40  # letters of a word that is looked up
UNKNOWN = 3  # words of a query that nobody knows, at most: where there are more, it is of another language
FIRST_SLIP = 7  # letters from which the first may be wrong, where people hardly ever slip
TWO_SLIPS = 8  # letters from which two slips are thought of
PART = 3  # letters of each of two words that were joined, at least
OFTEN = 2  # products that have each of them, at least
WORDS = 16  # of a query that are looked at
_RUN = re.compile(r"\w+(?:[-./]\w+)*")  # with a digit in one of its parts, it is a number
_WORD = re.compile(r"[^\W_]+")
_SOUNDS = ("aeiouy", "bp", "dt", "cksqxz", "fvw", "gj", "mn")  # letters that are heard alike
_JOINTS = frozenset(["and", "for", "from", "per", "the", "with"])  # no part of a word that is cut or put together


class Lexicon(Protocol):
    """The words of a catalogue."""

    def folded(self, word: str) -> str:
        """A word as it is kept: lower case, without accents; empty where it is longer than any word that is kept."""

    def count(self, word: str) -> int:
        """In how many products a folded word stands."""

    def __contains__(self, word: str) -> bool:
        """Whether a folded word stands in a product, in any field, or is a word of the language."""

    def near(self, word: str, slips: int) -> list[tuple[str, int]]:
        """Words that so many slips at most lead to, with their counts, most first."""


class Speller:
    """Corrects queries by a catalogue's words; usable from several threads, and with bounded work on any text.

    A word is left as it is where it has a digit, fewer than four letters, more than forty, or letters without upper and
    lower case, and wherever the catalogue or the language knows it. Where more than three are unknown, all stay. Two
    words are joined where the catalogue knows them better as one ("head phones"), and a word is cut where it knows both
    parts ("headphonecase").

    Args:
        lexicon: the words.
        found: whether the lexical index finds a folded word, as it finds "kettles" by "kettle".
        numbered: the folded words of a query that belong to model numbers of the catalogue.
    """

    def __init__(
        self, lexicon: Lexicon, found: Callable[[str], bool], numbered: Callable[[str], Collection[str]]
    ) -> None:
        self._lexicon, self._found, self._numbered = lexicon, found, numbered

    def corrected(self, text: str) -> str:
        """The query as it is searched for: the same text where nothing is wrong with it.

        Of a correct query it asks the dictionary once a word and once a pair of neighbours, a microsecond each.
        """
        words = [word for word in islice(_words(text), WORDS) if len(word[0]) <= LONGEST]
        meant = [self._lexicon.folded(word[0]) for word in words]
        changed = self._joined(text, words, meant)
        unknown = [place for place, word in enumerate(meant) if place not in changed and self._unknown(word)]
        if 0 < len(unknown) <= UNKNOWN:
            numbered = {self._lexicon.folded(word) for word in self._numbered(text)}
            for place in unknown:
                better = None if meant[place] in numbered else self._better(meant[place])
                if better is not None:
                    changed[place] = better
        if not changed:
            return text
        kept, end = [], 0
        for place, better in sorted(changed.items()):
            start, stop = words[place].span()
            kept += [text[end:start], better] if better else []
            end = stop
        return "".join([*kept, text[end:]])

    def _joined(self, text: str, words: list[re.Match[str]], meant: list[str]) -> dict[int, str]:
        """By place: neighbours that are better known as one word, and nothing for the second of them."""
        changed: dict[int, str] = {}
        for place in range(1, len(words)):
            first, second = meant[place - 1], meant[place]
            if min(len(first), len(second)) < PART or place - 1 in changed or first in _JOINTS or second in _JOINTS:
                continue
            if text[words[place - 1].end() : words[place].start()] != " ":
                continue
            together = self._lexicon.count(first + second)
            if together and together > min(self._lexicon.count(first), self._lexicon.count(second)):
                changed[place - 1], changed[place] = first + second, ""
        return changed

    def _unknown(self, word: str) -> bool:
        return len(word) >= LETTERS and word.lower() != word.upper() and word not in self._lexicon

    def _better(self, word: str) -> str | None:
        near = self._lexicon.near(word, 1)
        if self._found(word):  # a form of a word that stands there, unless a letter was only struck twice
            return _best(word, [found for found in near if _twice(word, found[0])])
        likely = [found for found in near if _likely(word, found[0])]
        return _best(word, likely) or self._cut(word) or (None if near else self._two_slips(word))

    def _cut(self, word: str) -> str | None:
        cuts = [(word[:i], word[i:]) for i in range(PART, len(word) - PART + 1)]
        counts = [
            (min(self._lexicon.count(first), self._lexicon.count(second)), first, second)
            for first, second in cuts
            if first not in _JOINTS and second not in _JOINTS
        ]
        best = max(counts, default=(0, "", ""))
        return " ".join(best[1:]) if best[0] >= OFTEN else None

    def _two_slips(self, word: str) -> str | None:
        if len(word) < TWO_SLIPS:
            return None
        return _best(word, [found for found in self._lexicon.near(word, 2) if found[0][0] == word[0]])


def _words(text: str) -> Iterator[re.Match[str]]:
    """The words of letters alone, but for those that are a part of a number."""
    for run in _RUN.finditer(text):
        if run[0].isalpha():
            yield run
        elif not any(map(str.isdigit, run[0])):
            yield from _WORD.finditer(text, *run.span())


def _best(word: str, found: list[tuple[str, int]]) -> str | None:
    """Of words with their counts the most frequent, one with the same first letter before all others."""
    return min(found, key=lambda pair: (pair[0][0] != word[0], -pair[1], pair[0]))[0] if found else None


def _likely(typed: str, meant: str) -> bool:
    """Whether fingers or ears make the one slip that lies between two words.

    A neighbouring key, a letter that sounds alike, two letters swapped, one left out, one too many. Not two other
    letters, and nothing at the end of a word that may well be a form of it: each made words of what was one (projector
    a protector, clamp a clasp, airy air, modem mode) where a catalogue does not know it.
    """
    start = next((i for i, (a, b) in enumerate(zip(typed, meant, strict=False)) if a != b), None)
    if start is None:  # one is the beginning of the other
        return len(typed) < len(meant) or _twice(typed, meant)
    if start == 0 and len(typed) < FIRST_SLIP:
        return False
    if len(typed) != len(meant) or typed[start + 1 :] != meant[start + 1 :]:
        return True
    return meant[start] in CONFUSED.get(typed[start], "")


def _twice(typed: str, meant: str) -> bool:
    """Whether one letter was struck twice, and nothing else is wrong."""
    return any(a == b and typed[:i] + typed[i + 1 :] == meant for i, (a, b) in enumerate(pairwise(typed)))


CONFUSED = {  # by letter
    key: {*keys, *(k for sounds in _SOUNDS if key in sounds for k in sounds if k != key)}
    for key, keys in NEIGHBOURS.items()
}
