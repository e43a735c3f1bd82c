"""What a shop sells: one `Kind` per product type, read from the tables beside this file.

A table is text. Each type starts with `== name | department > group | makers | products | price range | naming`;
then come rows, each named by its first word:

title     a template of the title; facts stand in braces, {Colour} capitalises, {fits} is the main product
fits      this is an accessory: the type it belongs to, then the facts it takes over from the main product
line      a fact that all variants of a model share:  name: option | option *price factor | - (no such fact)
each      a fact in which the variants of a model differ
lead      a first sentence of the description;  [fact=value] before a sentence says when it may stand
say       a further sentence

A row that starts with a blank continues the one above.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

Naming = Literal["code", "short", "outdoor", "home", "fashion", "play", "none"]


@dataclass(frozen=True)
class Option:
    """One value of a fact; an empty value means that the product lacks the fact."""

    value: str
    factor: float = 1.0  # of the price


@dataclass(frozen=True)
class Template:
    """Text with facts in braces, and when it may stand."""

    text: str
    fact: str = ""
    value: str = ""

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Say whether the facts allow this text."""
        return not self.fact or facts.get(self.fact, "-") == self.value


Facts = Mapping[str, tuple[Option, ...]]


@dataclass(frozen=True)
class Kind:
    """One product type."""

    name: str
    group: str  # "Department > Group"
    makers: tuple[str, ...]  # names of groups in brands.py; "own" is the brand of the main product
    count: int  # products
    price: tuple[float, float]  # EUR, before factors
    naming: Naming
    titles: list[Template] = field(default_factory=list)
    line: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    each: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    leads: list[Template] = field(default_factory=list)
    says: list[Template] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)  # the main type, then the facts taken over; empty for a main type

    @property
    def category(self) -> str:
        """The whole path, "Department > Group > Type"."""
        return f"{self.group} > {self.name}"


def parse(table: str) -> list[Kind]:
    """Read a table; ValueError names the row that cannot be read and what it should look like."""
    kinds: list[Kind] = []
    for row in _rows(table):
        word, _, rest = row.partition(" ")
        if word == "==":
            kinds.append(_kind(rest))
        elif not kinds:
            raise ValueError(f"the table starts with {row!r}: start it with a '==' row")
        else:
            _add(kinds[-1], word, rest)
    return kinds


def _rows(table: str) -> Iterator[str]:
    row = ""
    for text in table.strip().splitlines():
        if text.startswith(" "):
            row += " " + text.strip()
        elif text.strip():
            if row:
                yield row
            row = text.strip()
    if row:
        yield row


def _kind(text: str) -> Kind:
    match = re.fullmatch(r"(.+) \| (.+ > .+) \| (.+) \| (\d+) \| ([\d.]+)-([\d.]+) \| (\w+)", text)
    if match is None or match[7] not in get_args(Naming):
        raise ValueError(f"{text!r}: write 'name | department > group | makers | products | low-high | naming'")
    name, group, makers, count, low, high, naming = match.groups()
    return Kind(name, group, tuple(makers.split()), int(count), (float(low), float(high)), cast("Naming", naming))


def _add(kind: Kind, word: str, rest: str) -> None:
    match word:
        case "title":
            kind.titles.append(_template(rest))
        case "lead":
            kind.leads.append(_template(rest))
        case "say":
            kind.says.append(_template(rest))
        case "fits":
            kind.fits.extend(part.strip() for part in rest.split(","))
        case "line" | "each":
            name, _, options = rest.partition(":")
            facts = kind.line if word == "line" else kind.each
            facts[name.strip()] = tuple(_option(text) for text in options.split("|"))
        case _:
            raise ValueError(f"{kind.name}: no row is called {word!r}: see the head of kinds.py")


def _option(text: str) -> Option:
    value, _, factor = text.strip().partition(" *")
    return Option("" if value == "-" else value.strip(), float(factor or 1))


def _template(text: str) -> Template:
    if not text.startswith("["):
        return Template(text)
    guard, _, rest = text[1:].partition("]")
    fact, _, value = guard.partition("=")
    return Template(rest.strip(), fact, value)
