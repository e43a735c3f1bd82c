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
_DIGIT = re.compile(r"\d")
_WORDY = 5  # letters from which a part is a word of the language: "iphone 8" is no number
_UNITS = (
    "a ah bit btu cl cm core db dpi er fps ft g gb gbit gbps ghz gsm h hz in inch k kb kg khz km kv kva kw kwh l lb lm "
    "m ma mah mb mbit mbps mg mhz min ml mm mp ms nd nm oz p pack pc pcs pin pk port ppm px rd rpm s st tb th v va w "
    "wh x"
)
_AMOUNT = re.compile(rf"\d+({'|'.join(_UNITS.split())})|\d+x\d+\w*")  # how much, not which


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
    words = _WORD.findall(folded(text))
    found = [Asked(code, tuple(words[i:j]), i, _names(words[i:j])) for i, j, code in _joined(words[:WORDS], ASKED)]
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
    """Whether the parts of a number name a product, and are neither amounts nor words beside a figure."""
    if len(parts) == 1:
        return not _AMOUNT.fullmatch(parts[0])
    amounts = all(_AMOUNT.fullmatch(part) for part in parts)
    return not amounts and not any(part.isalpha() and len(part) >= _WORDY for part in parts)
