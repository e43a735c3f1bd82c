"""Takes out of a query what may tell who typed it, before anything of it is kept.

What goes: control and format characters, e-mail addresses, and digits in such numbers as cards, phones, accounts and
social security have: eight in a row, or nine with at most three signs between two of them. What stays: model numbers
(xr-1000, WH-1000XM4, T407011), sizes, years, prices. A GTIN goes: of twelve to fourteen digits nobody can say whether
they are a phone's, and a phone that is kept is worse than a product that is not. So does a model number of eight
digits, as some makers of toner have them.
"""

import re
import unicodedata
from collections.abc import Iterator

_BLANK = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": ""}  # by category: those that part words become a space
_DIGITS = re.compile(
    r"(?<![^\W_])[+(]{0,2}\d(?:[\W_]{0,3}\d){8,}"  # nine or more, but not within a model number
    r"|\d{8,}"
)
_AT = re.compile(r"@|\uff20|\ufe6b|%40", re.IGNORECASE)
_DOTS = ".\u3002\uff0e\uff61"  # which parts of a domain are divided by, in any script


def scrub(query: str) -> str:
    """The query without what may tell who typed it; possibly empty. Scrubbing it again changes nothing."""
    text = "".join(_BLANK.get(unicodedata.category(c), c) for c in query)
    while (less := _without_numbers(_without_addresses(text))) != text:  # taking out one may join another
        text = less
    return text


def _without_numbers(text: str) -> str:
    return " ".join(_DIGITS.sub(" ", text).split())


def _without_addresses(text: str) -> str:
    return " ".join(word for group in _around_at(text.split()) if not _is_address("".join(group)) for word in group)


def _around_at(words: list[str]) -> Iterator[list[str]]:
    """The words, those beside a free-standing @ as one group with it."""
    group: list[str] = []
    for word in words:
        joined = group and (_ends_at(group[-1]) or _AT.match(word))
        if group and not joined:
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends_at(word: str) -> bool:
    ends = [match.end() for match in _AT.finditer(word)]
    return bool(ends) and ends[-1] == len(word)


def _is_address(word: str) -> bool:
    """Whether something stands before an @, and a dotted name or number behind it."""
    at = _AT.search(word, 1)
    return at is not None and any(dot in word[at.end() :] for dot in _DOTS)
