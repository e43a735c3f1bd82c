"""Misspellings as people make them: a letter left out, doubled, swapped with its neighbour or hit beside its key."""

import numpy as np

from millirank.keyboard import ROWS

LEAST = 5  # letters of a word that is misspelt
_BESIDE = {row[i]: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in ROWS for i in range(len(row))}


def misspelt(query: str, rng: np.random.Generator) -> str:
    """The query with one mistake in one of its words of at least 5 letters, never in the first letter of the word.

    Args:
        query: spelt right; words with a digit in them are left alone.
        rng: decides the word, the letter and the mistake.

    Returns:
        Another text; the same one where no word is long enough.
    """
    words = query.split()
    long = [i for i, word in enumerate(words) if len(word) >= LEAST and word.isascii() and word.isalpha()]
    if not long:
        return query
    at = long[int(rng.integers(len(long)))]
    word = words[at]
    place = int(rng.integers(1, len(word) - 1))
    letter, following = word[place], word[place + 1]
    changed = (
        word[:place] + word[place + 1 :],
        word[:place] + letter + word[place:],
        word[:place] + following + letter + word[place + 2 :],
        word[:place] + _BESIDE.get(letter, letter)[:1] + word[place + 1 :],
    )
    first = int(rng.integers(len(changed)))
    mistake = next((w for w in (*changed[first:], *changed[:first]) if w != word), word)
    return " ".join([*words[:at], mistake, *words[at + 1 :]])
