"""What is right for a query: judgments, alone or in segments, read from and written to CSV files."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millirank.errors import CatalogError

Judgments = Mapping[str, Mapping[str, int]]  # query -> product id -> grade, 0 (bad) to 3 (perfect)

COLUMNS = ("query", "docid", "rating", "segment", "meant")  # the first three are required
ALL = "all"  # the segment of a file that names none


@dataclass(frozen=True)
class Segment:
    """Queries of one kind."""

    judgments: Judgments  # a query without products has no good answer
    meant: Mapping[str, str] = field(default_factory=dict)  # misspelled query -> the correct one, of another segment


def read_judgments(path: Path) -> Judgments:
    """Judgments from a CSV file with the columns query, docid and rating, whatever their segments.

    Raises:
        CatalogError: if the file is not of that form, or no product in it is right.
    """
    judged: dict[str, dict[str, int]] = {}
    for segment in read_segments(path).values():
        for query, grades in segment.judgments.items():
            judged.setdefault(query, {}).update(grades)
    return judged


def read_segments(path: Path) -> dict[str, Segment]:
    """Judgments by segment, from a CSV file with the columns query, docid and rating and, if present, segment, meant.

    A row without a docid says that nothing in the catalogue is a good answer.

    Raises:
        CatalogError: if the file is not of that form, or no product in it is right.
    """
    judged: dict[str, dict[str, dict[str, int]]] = {}
    meant: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                name, query, product = row.get("segment") or ALL, row["query"], row["docid"]
                grades = judged.setdefault(name, {}).setdefault(query, {})
                rating = int(row["rating"])
                if product:
                    grades[product] = rating
                if row.get("meant"):
                    meant.setdefault(name, {})[query] = row["meant"]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        fix = f"give a UTF-8 CSV file with the columns {','.join(COLUMNS[:3])} and whole ratings"
        raise CatalogError(f"{path} holds no judgments ({type(error).__name__}: {error}): {fix}") from error
    if not any(grade > 0 for queries in judged.values() for grades in queries.values() for grade in grades.values()):
        raise CatalogError(f"{path} rates no product above 0: there is nothing to score against, add right answers")
    return {name: Segment(queries, meant.get(name, {})) for name, queries in judged.items()}


def write_segments(path: Path, segments: Mapping[str, Segment]) -> None:
    """Writes what read_segments reads.

    Raises:
        CatalogError: if the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows(_rows(segments))
    except OSError as error:
        raise CatalogError(f"{path} cannot be written ({error.strerror}): choose another file") from error


def _rows(segments: Mapping[str, Segment]) -> Iterator[tuple[object, ...]]:
    for name, segment in segments.items():
        for query, grades in segment.judgments.items():
            meant = segment.meant.get(query, "")
            for product, grade in (grades or {"": 0}).items():
                yield query, product, grade, name, meant
