"""Model numbers: words that mix letters and digits and stand in one product alone."""

import re
from collections import defaultdict
from collections.abc import Iterator

from .texts import Texts, fields, words

LEAST = 4  # letters and digits of a number, of which at least two digits
DIGITS = 2
_TOKEN = re.compile(r"[^\W_]+(?:[-./+][^\W_]+)*")
_MEASURE = re.compile(r"\d+[^\W\d_]+|\d+x\d.*")  # 256mb, 10pack, 1920x1080: how much, not which


def is_number(token: str) -> bool:
    """Whether a word of a title names a model, as SN-380 and QC5070/80 do and 144-pin, 1920x1080 and A4 do not."""
    key = squashed(token.partition("/")[0])
    digits = sum(letter.isdigit() for letter in key)
    return len(key) >= LEAST and DIGITS <= digits < len(key) and not _MEASURE.fullmatch(key)


def squashed(token: str) -> str:
    """A number however its parts are joined: sn380 for SN-380."""
    return "".join(words(token))


def model_numbers(texts: Texts) -> dict[str, int]:
    """The row of each number, as its title writes it, that a title and no text of any other product has.

    Numbers that differ only in how their parts are joined are the same, and a number is also carried by a longer one
    that has it as a part: QC5070/80 carries QC5070.
    """
    written: dict[str, tuple[str, int]] = {}  # by squashed form
    for row, product in enumerate(texts.products):
        for token in _TOKEN.findall(str(product["title"])):
            if is_number(token):
                written.setdefault(squashed(token), (token, row))
    starts = {key[:end] for key in written for end in range(1, len(key) + 1)}
    carriers: defaultdict[str, set[int]] = defaultdict(set)
    for row, product in enumerate(texts.products):
        for text in fields(product):
            for key in _joined(words(text), starts):
                if key in written:
                    carriers[key].add(row)
    return {token: row for key, (token, row) in written.items() if carriers[key] == {row}}


def _joined(parts: list[str], starts: set[str]) -> Iterator[str]:
    """Every run of parts, joined, that begins as some number does."""
    for first in range(len(parts)):
        key = ""
        for part in parts[first:]:
            key += part
            if key not in starts:
                break
            yield key
