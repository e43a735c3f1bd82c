"""Words as mining compares them, and what a word can be: a unit, a colour, a part of speech that names nothing."""

import re

from millirank.evaluation import part_of
from millirank.evaluation.words import normal, terms

__all__ = ["COLOURS", "STOP", "UNITS", "normal", "part_of", "reserved", "sizes", "terms"]

STOP = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "per", "the", "to", "with", "without"]
)
COLOURS = frozenset(
    [
        "black",
        "white",
        "grey",
        "gray",
        "silver",
        "red",
        "blue",
        "green",
        "yellow",
        "orange",
        "pink",
        "purple",
        "brown",
        "beige",
        "gold",
        "cyan",
        "magenta",
    ]
)
UNITS = {  # as written, and the one name that sizes are compared by
    **dict.fromkeys(["gb", "tb", "mb", "mm", "cm", "m", "ft", "w", "v", "va", "mah", "l", "ml", "kg", "g"]),
    **dict.fromkeys(["ghz", "mhz", "hz", "dpi", "a"]),
    **dict.fromkeys(["in", "inch", "inches", '"', "\u2033"], "in"),
    **dict.fromkeys(["pc", "pcs", "pack", "sheets", "pages", "ports", "port"], "pc"),
}
SIZE = re.compile(
    rf"(?<![\w.,])(\d+(?:[.,]\d+)?)[\s-]?({'|'.join(map(re.escape, sorted(UNITS, key=len, reverse=True)))})(?!\w)"
)
FIFTHS = 5
RESERVED = 0  # the fifth of all queries that rule-made evaluations may ask and no training may


def reserved(query: str) -> bool:
    """Whether a query, spelt right, is of the fifth that is kept for evaluation."""
    return part_of(query, FIFTHS) == RESERVED


def sizes(text: str) -> dict[str, frozenset[float]]:
    """Every size in a text, by unit: 17 inch 250 GB is {"in": {17}, "gb": {250}}."""
    found: dict[str, set[float]] = {}
    for value, unit in SIZE.findall(text.casefold()):
        found.setdefault(UNITS[unit] or unit, set()).add(float(value.replace(",", ".")))
    return {unit: frozenset(values) for unit, values in found.items()}
