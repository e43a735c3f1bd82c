"""Misspellings as fingers make them: a neighbouring key, two letters swapped, one left out, one struck twice."""

from collections.abc import Container
from random import Random

from millirank.keyboard import NEIGHBOURS

from .texts import words

LEAST = 4  # letters of a word that is misspelled
TRIES = 12


def misspelled(word: str, rng: Random) -> str:
    """The word with one slip after its first letter, where people hardly ever slip; it may come out as it was.

    Args:
        word: of at least two letters, lower case.
        rng: decides which slip, and where.
    """
    at = rng.randrange(1, len(word))
    slip = rng.choice(("neighbour", "swap", "drop", "double"))
    if slip == "neighbour":
        return word[:at] + rng.choice(NEIGHBOURS.get(word[at], word[at])) + word[at + 1 :]
    if slip == "swap":
        return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    return word[:at] + word[at + (slip == "drop") :] if slip == "drop" else word[: at + 1] + word[at:]


def misspelled_query(query: str, known: Container[str], rng: Random) -> str | None:
    """The query with one of its words misspelled, so that it became no word of the catalogue.

    Only words of plain letters, at least LEAST of them, are misspelled: a slip in a model number names another model.

    Args:
        query: lower case.
        known: words of the catalogue, folded.
        rng: decides the word and the slip.

    Returns:
        None where no word can be misspelled.
    """
    parts = query.split(" ")
    usable = [n for n, part in enumerate(parts) if len(part) >= LEAST and part.isascii() and part.isalpha()]
    for _ in range(TRIES if usable else 0):
        at = rng.choice(usable)
        wrong = misspelled(parts[at], rng)
        if wrong != parts[at] and not any(word in known for word in words(wrong)):
            return " ".join([*parts[:at], wrong, *parts[at + 1 :]])
    return None
