"""The demo as files, in the formats that `millirank index` and `millirank eval` read."""

import csv
import filecmp
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from millirank.demo.generator import products
from millirank.demo.judgments import judgments
from millirank.errors import CatalogError


@dataclass(frozen=True)
class Paths:
    """Where the demo's files lie."""

    products: Path  # JSON Lines, one product a line
    judgments: Path  # CSV: query,docid,rating


def write(folder: Path, seed: int = 7) -> Paths:
    """Write products.jsonl and judgments.csv into the folder, which is made if missing; each appears whole or not.

    A file that would not change keeps its time, so that what was made of it stays valid.

    Raises:
        CatalogError: if they cannot be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"{folder} cannot be made ({error.strerror}): choose another --folder") from error
    paths = Paths(folder / "products.jsonl", folder / "judgments.csv")
    with _atomic(paths.products) as file:
        for product in products(seed):
            file.write(json.dumps(product, ensure_ascii=False) + "\n")
    with _atomic(paths.judgments) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("query", "docid", "rating"))
        rows.writerows(judgments(seed))
    return paths


@contextmanager
def _atomic(path: Path) -> Iterator[TextIO]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.is_file() and filecmp.cmp(name, path, shallow=False):
            return
        Path(name).chmod(0o644)  # mkstemp makes it private
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
