"""Pseudo-queries: what shoppers might type, read off the titles of a catalogue that has no clicks."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

LONGEST = 3  # words
OFTEN = 0.13  # an n-gram in more of the titles than this says too little
_BREAK = re.compile(r"[,;:()\[\]/|\"]+|\s[-\u2013]\s")  # no n-gram runs across these
_WORD = re.compile(r"\w+(?:[.\-+]\w+)*")
_TERM = re.compile(r"\w+")
_STOP = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "per", "the", "to", "with", "without"]
)
_PLURAL = 4  # letters from which a last s is taken for a plural


def terms(text: str) -> list[str]:
    """The words of a text as BM25 and the hold-out compare them: folded, and without the s of a plural."""
    words = _TERM.findall(text.casefold())
    return [w[:-1] if len(w) >= _PLURAL and w[-1] == "s" and w[-2] not in "su" else w for w in words]


def normal(query: str) -> str:
    """A query as the hold-out compares it: two queries with the same normal form are one."""
    return " ".join(terms(query))


def pseudo_queries(titles: Sequence[str], count: int, held_out: Collection[str], rng: np.random.Generator) -> list[str]:
    """Draws from the n-grams of 1 to 3 words that at least 4 (in small catalogues 2) and at most 13 % of titles have.

    Args:
        titles: of one catalogue.
        count: how many at most.
        held_out: queries, in any form, none of which may be drawn.
        rng: decides what is drawn.

    Returns:
        Distinct queries, in an order that the catalogue and rng alone decide.
    """
    least = int(np.clip(round(4 * (len(titles) / 20_000) ** 0.5), 2, 4))
    most = max(least, int(OFTEN * len(titles)))
    found: Counter[str] = Counter()
    for title in titles:
        found.update(set(_ngrams(title)))
    barred = {normal(q) for q in held_out}
    usable = sorted(g for g, n in found.items() if least <= n <= most and normal(g) not in barred)
    chosen = rng.permutation(len(usable))[:count]
    return [usable[i] for i in np.sort(chosen)]


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
    named = any(len(w) > 1 and w.isalpha() for w in words if w not in _STOP)
    return named and words[0] not in _STOP and words[-1] not in _STOP
