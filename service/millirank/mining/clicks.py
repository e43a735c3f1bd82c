"""Clicks of shoppers as grades: what a shop has instead of judges."""

import csv
import math
from collections import defaultdict
from pathlib import Path

from millirank.errors import CatalogError
from millirank.evaluation import Judgments

BEST = 3  # the grade of a query's most clicked product
GRADES, CLICKS = ("grade", "rating"), ("click", "clicks")  # columns, one of them


def read_clicks(path: Path) -> Judgments:
    """Grades from a CSV file with the columns query, id and grade, or query, id and click (or clicks).

    Of grades of one query and product in several rows the highest counts. Clicks are added up; their grade is
    3 log(1 + clicks) / log(1 + most clicks of the query), rounded, at least 1 where there was a click, so that one
    product that everybody clicks does not make all others worthless. Products shown without a click belong into the
    file with 0: they are what is not right.

    Raises:
        CatalogError: if the file is not of that form.
    """
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name for name in (*GRADES, *CLICKS) if name in (reader.fieldnames or ())]
            column = columns[0] if columns else "click"
            for row in reader:
                counts, number = found[row["query"]], _whole(row[column])
                before = counts[row["id"]]
                counts[row["id"]] = max(before, number) if column in GRADES else before + number
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        fix = "give a UTF-8 CSV file with the columns query,id,grade or query,id,click, of whole numbers from 0"
        raise CatalogError(f"{path} holds no clicks ({type(error).__name__}: {error}): {fix}") from error
    if not any(count > 0 for counts in found.values() for count in counts.values()):
        raise CatalogError(f"{path} has no click and no grade above 0: there is nothing to learn from, add some")
    return {query: dict(counts) if column in GRADES else _graded(counts) for query, counts in found.items()}


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is below 0")
    return number


def _graded(counts: dict[str, int]) -> dict[str, int]:
    most = math.log1p(max(counts.values())) or 1.0
    return {product: max(min(n, 1), round(BEST * math.log1p(n) / most)) for product, n in counts.items()}
