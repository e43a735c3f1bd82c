"""Turns the Chorus electronics data (zipped JSON arrays, judgments.csv) into a catalogue that `millirank index` reads.

MILLIRANK_CHORUS=FOLDER python loadtest/chorus.py --out DIR    writes DIR/products.jsonl and DIR/judgments.csv
"""

import argparse
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFIXES = ("attr_t_", "attr_n_", "attr_b_")  # text, number, true or false
FIELDS = {
    "id": "id",
    "title": "title",
    "brand": "supplier",
    "description": "short_description",
    "category": "attr_t_product_type",
    "price": "price",
    "image_url": "img_high",
}


def product(row: dict[str, Any]) -> dict[str, Any]:
    """One of our products from one of theirs."""
    made: dict[str, Any] = {ours: row[theirs] for ours, theirs in FIELDS.items() if row.get(theirs)}
    attributes = {name[7:].strip("_"): _told(value) for name, value in row.items() if name.startswith(PREFIXES)}
    if attributes:
        made["attributes"] = attributes
    return made


def products(folder: Path) -> Iterator[dict[str, Any]]:
    """Every product of the folder's archives, in the order of their names."""
    for path in sorted(folder.glob("products-*.json.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield from map(product, json.loads(archive.read(name)))


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write(folder: Path, out: Path) -> int:
    """Writes products.jsonl and judgments.csv; how many products there were."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    with (out / "products.jsonl").open("w", encoding="utf-8") as file:
        for made in products(folder):
            file.write(json.dumps(made, ensure_ascii=False) + "\n")
            count += 1
    shutil.copyfile(folder / "judgments.csv", out / "judgments.csv")
    return count


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    folder = os.environ.get("MILLIRANK_CHORUS")
    if not folder:
        sys.exit("MILLIRANK_CHORUS is not set: it must name the folder with products-*.json.zip and judgments.csv")
    print(f"{write(Path(folder), out)} products in {out / 'products.jsonl'}")


if __name__ == "__main__":
    main()
