"""What several scripts take on their command lines."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path

from report import BENCHMARKS


def parser_of(doc: str | None, name: str) -> argparse.ArgumentParser:
    """That of a script whose docstring is its help: with --name of the page that it writes, and --out, the folder."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=name)
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    return parser


def some_of(known: Collection[str], separator: str = ",") -> Callable[[str], tuple[str, ...]]:
    """The type of an option that takes some of the known names, or none; argparse refuses others."""

    def names(text: str) -> tuple[str, ...]:
        found = tuple(name for name in text.split(separator) if name)
        if unknown := sorted({*found} - {*known}):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is unknown: name some of {separator.join(known)}")
        return found

    return names
