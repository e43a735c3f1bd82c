"""Known items: what is left of a title when two words are forgotten or one is misspelled."""

from collections.abc import Iterator
from random import Random

from .texts import Texts, words
from .typos import misspelled_query

LEAST = 5  # words of a title that is asked for
MOST = 24  # so that no model cuts the query short
LESS = 2  # words that are forgotten

Known = tuple[str, set[int]]  # a query and the rows that are right


def less_two_words(texts: Texts, rng: Random) -> Iterator[Known]:
    """Titles without two of their words, where no other product's title has all of the rest."""
    for row, title in _titles(texts, rng):
        out = rng.sample(range(len(title)), LESS)
        kept = [word for place, word in enumerate(title) if place not in out]
        same = _same(texts, row, kept)
        if same:
            yield " ".join(kept), same


def one_word_misspelled(texts: Texts, rng: Random) -> Iterator[Known]:
    """Titles with one word misspelled, where no other product's title has all of the others."""
    for row, title in _titles(texts, rng):
        wrong = misspelled_query(" ".join(title), texts.vocabulary, rng)
        if wrong is None:
            continue
        same = _same(texts, row, [word for word, now in zip(title, wrong.split(" "), strict=True) if word == now])
        if same:
            yield wrong, same


def _titles(texts: Texts, rng: Random) -> Iterator[tuple[int, list[str]]]:
    for row in rng.sample(range(len(texts.products)), len(texts.products)):
        title = str(texts.products[row]["title"]).casefold().split()
        if LEAST <= len(title) <= MOST:
            yield row, title


def _same(texts: Texts, row: int, kept: list[str]) -> set[int]:
    """The rows with this row's words, if they alone have what was kept; else none."""
    found = texts.titled(words(" ".join(kept)))
    alike = {other for other in found if sorted(texts.titles[other]) == sorted(texts.titles[row])}
    return found if found == alike else set()
