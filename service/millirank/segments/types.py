"""What kind of thing each product is, by its category and by the words of its title."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from millirank.evaluation.words import normal

from .texts import Texts, words

ENDS = frozenset(  # of a run: particles, and words that name no thing
    words(
        "a an and as at by for from in into of on or over per the to up with without "
        "blank compatible edition female male model new only original series type version"
    )
)
PRODUCTS, BRANDS = 5, 3  # that have a type at least; where a field names it, one brand is enough
_PART = re.compile(r"[^\s,;:()\[\]/|\"]+")
_FIGURE = re.compile(r"\d[\d.,/x-]*")
_NAME = re.compile(r"[^\W\d_]{3,}( [^\W\d_]{2,}){0,2}")  # one to three words


class Run(NamedTuple):
    """Lower-case words of a title that stand together."""

    words: tuple[str, ...] = ()
    behind_figure: bool = False


class Types:
    """The types of a catalogue's products.

    A category's last part is a type. Without a category it is the first run of lower-case words in a title ("Acme
    KX-360 laptop bag black"), up to a particle and without colours. A run behind a figure may begin with a unit: of it
    counts the longest tail that is a type of other products. Titles that write every word large say nothing.
    """

    def __init__(self, texts: Texts) -> None:
        colours = _colours(texts)
        named = [_of_field(product) for product in texts.products]
        runs = [
            Run() if name else _run(str(product["title"]), colours)
            for name, product in zip(named, texts.products, strict=True)
        ]
        written: defaultdict[str, set[int]] = defaultdict(set)  # rows of each type as it is written
        for row, (run, name) in enumerate(zip(runs, named, strict=True)):
            for whole in ({" ".join(run.words)} if run.words and not run.behind_figure else set()) | name:
                written[whole].add(row)
        known = set().union(*named)
        self.names = sorted(  # what shoppers could type, as the catalogue writes it
            name
            for name, rows in written.items()
            if _NAME.fullmatch(name) and len(rows) >= PRODUCTS and (name in known or _brands(texts, rows) >= BRANDS)
        )
        usable = {normal(kind): kind for kind in self.names}
        self.of = [tuple(sorted(name | _known_tail(run, usable))) for run, name in zip(runs, named, strict=True)]
        self._rows: defaultdict[str, set[int]] = defaultdict(set)  # by normal form
        for row, names in enumerate(self.of):
            for kind in names:
                for tail in _tails(normal(kind)):
                    self._rows[tail].add(row)

    def rows(self, name: str) -> set[int]:
        """The rows of a type: laptop bags for `bag`, but no bag for `laptop`."""
        return self._rows.get(normal(name), set())


def _brands(texts: Texts, rows: set[int]) -> int:
    return len({texts.products[row].get("brand") for row in rows})


def _of_field(product: Mapping[str, Any]) -> set[str]:
    leaf = str(product.get("category", "")).rpartition(">")[2].rpartition("/")[2].strip().casefold()
    return {leaf} if _NAME.fullmatch(leaf) else set()


def _run(title: str, colours: set[str]) -> Run:
    found: list[str] = []
    behind_figure = False
    before = ""
    for part in _PART.findall(title):
        plain = part.isalpha() and part.islower() and len(part) > 1
        if part.casefold() in ENDS or (found and not plain):
            break
        if plain and before:
            behind_figure = behind_figure or bool(_FIGURE.fullmatch(before))
            found.append(part)
        before = part
    while found and found[-1] in colours:
        found.pop()
    return Run(tuple(found), behind_figure)


def _known_tail(run: Run, usable: Mapping[str, str]) -> set[str]:
    """The longest tail of a run that is a type, as it is written."""
    tails = _tails(normal(" ".join(run.words))) if run.words else ()
    return {next((usable[tail] for tail in tails if tail in usable), "")} - {""}


def _colours(texts: Texts) -> set[str]:
    found: set[str] = set()
    for product in texts.products:
        for name, value in product.get("attributes", {}).items():
            if "colo" in name.casefold():
                found.update(words(str(value)))
    return found


def _tails(name: str) -> Iterator[str]:
    parts = name.split(" ")
    for start in range(len(parts)):
        yield " ".join(parts[start:])
