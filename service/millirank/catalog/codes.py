"""Model numbers: how a product's are indexed and a query's looked up, whichever way their parts are joined.

WH-1000XM4, wh1000xm4 and WH 1000 XM4 are one number: neighbouring words are joined, on both sides, and compared without
what stands between them.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LETTERS = (4, 40)  # letters and digits of a number, at least and at most
DIGITS = 6  # of a number that has no letter, at least
JOINED = 4  # neighbouring words of a title that are joined
ASKED = 6  # and of a query, whose numbers may be cut where letters meet digits
WORDS = 16  # of a query that are looked at
WHOLE = "="  # stands before a number that is all there is between two spaces
NAMED = frozenset(["ean", "gtin", "isbn", "model", "model_number", "mpn", "part_number", "sku", "upc"])  # attributes
_WORD = re.compile(r"[^\W_]+")
_HYPHEN = re.compile(r"(?<=[^\W_])[-/](?=[^\W_])")  # makes one part of two: TK-570K is as whole as TK570K
_DIGIT = re.compile(r"\d")
_WORDY = 5  # letters from which a part is a word of the language: "iphone 8" is no number
_SIGNS = 3  # letters and digits of the one of several parts that tells which: neither "core i5" nor "usb 3.0" has it
_UNITS = (
    "ah bit btu cl cm core cores db dpi er fps ft g gb gbit gbps ghz gsm hz in inch inches k kb kg khz km kv kva kw "
    "kwh l lb lm m ma mah mb mbit mbps mg mhz min ml mm mp ms nd nm oz p pack pc pcs pin pk port ports ppm px rd rpm "
    "st tb th v va w watt watts wh x"
)
_SHORT = "abhst"  # units of one or two digits: "ce 505a" is a cartridge, no current
_STANDARDS = "bt cat ddr dvi gddr hdmi ip ipx mp usb wifi"  # with a version of one or two digits
# Words of a phrase, such as "pack of 100".
_LINKS = frozenset(["and", "by", "for", "from", "in", "of", "on", "or", "per", "the", "to", "up", "with"])
_OF_UNITS = "|".join(_UNITS.split())
_AMOUNT = re.compile(  # how much or of which kind, not which
    rf"\d+({_OF_UNITS})|\d\d?[{_SHORT}]|\d+(x|in)\d+\w*|({'|'.join(_STANDARDS.split())})\d\d?[a-z]?"
)
_FIGURE = re.compile(rf"\b(\d+) ({_OF_UNITS})\b|\b(\d\d?) ([{_SHORT}])\b")  # an amount in two words


@dataclass(frozen=True, slots=True)
class Asked:
    """Neighbouring words of a query that may be a model number."""

    code: str
    words: tuple[str, ...]  # folded
    start: int  # place of the first of them in the query
    which: bool  # whether it can only name a product; 500gb tells how much, "iphone 8" is also found by its words

    def within(self, other: "Asked") -> bool:
        """Whether the other one has all of its words, and more."""
        ends = self.start + len(self.words), other.start + len(other.words)
        return other.start <= self.start and ends[0] <= ends[1] and len(self.words) < len(other.words)


def folded(text: str) -> str:
    """Lower case, without accents."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def codes_of(product: Mapping[str, Any]) -> list[str]:
    """What a product's model numbers are indexed as: of its title, its id, and attributes that name numbers; sorted."""
    title = folded(product["title"])
    found = {code for _, _, code in _joined(_WORD.findall(title), JOINED)}
    named = [value for name, value in product.get("attributes", {}).items() if name in NAMED]
    for run in (*title.split(), *map(folded, (product["id"], *named))):
        code = "".join(_WORD.findall(run))
        if _is_code(code):
            found |= {code, WHOLE + code}
    return sorted(found)


def asked(text: str) -> tuple[int, list[Asked]]:
    """How many words a query has, and what in it may be a model number; quick where it has no digit."""
    if not _DIGIT.search(text):
        return 0, []
    text = folded(text)
    spans = [match.span() for match in _WORD.finditer(text)]
    words = [text[start:end] for start, end in spans]
    found = []
    for start, end, code in _joined(words[:WORDS], ASKED):
        written = _HYPHEN.sub("", text[spans[start][0] : spans[end - 1][1]])
        edges = (words[max(0, place - 1) : place + 1] for place in (start, end))  # two words each, with one of its own
        cut = any(_FIGURE.fullmatch(" ".join(pair)) for pair in edges)  # an amount, of which it has a half
        found.append(Asked(code, tuple(words[start:end]), start, not cut and _names(_WORD.findall(written))))
    return len(words), found


def _joined(words: list[str], most: int) -> Iterator[tuple[int, int, str]]:
    for start in range(len(words)):
        code = ""
        for end in range(start + 1, min(start + most, len(words)) + 1):
            code += words[end - 1]
            if len(code) > LETTERS[1]:
                break
            if _is_code(code):
                yield start, end, code


def _is_code(code: str) -> bool:
    least, most = LETTERS
    return least <= len(code) <= most and (len(code) >= DIGITS if code.isdigit() else bool(_DIGIT.search(code)))


def _names(parts: list[str]) -> bool:
    """Whether the parts of a number name a product, and are neither amounts nor a phrase with a figure in it."""
    if _AMOUNT.fullmatch("".join(parts)):
        return False
    if len(parts) == 1:
        return True
    if any(part in _LINKS or (part.isalpha() and len(part) >= _WORDY) for part in parts):
        return False
    parts = _FIGURE.sub(r"\1\2\3\4", " ".join(parts)).split()
    return any(len(part) >= _SIGNS and _DIGIT.search(part) and not _AMOUNT.fullmatch(part) for part in parts)
