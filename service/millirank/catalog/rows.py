"""Feed files, row by row: JSON Lines, CSV, TSV (each also gzipped) and Parquet; memory does not grow with them."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID

import orjson

from millirank.errors import CatalogError

from .fields import ATTRIBUTE, FIELDS, REQUIRED, Reason, Unusable, product_from

MAX_LINE = 16 << 20  # bytes of one JSON line
MAX_CELL = 1 << 20  # characters of one CSV cell
MAX_NAMES = 60  # column names that an error lists
_ATTRIBUTE_PREFIXES = (ATTRIBUTE, "attr.")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Row:
    """A valid product and where it stood."""

    line: int  # from 1; in Parquet the row's number
    product: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no product, and why."""

    line: int  # from 1; in Parquet the row's number
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}: {self.detail}"


Raw = tuple[int, dict[str, Any] | Unusable]


def read_products(path: Path, mapping: Mapping[str, str] | None = None) -> Iterator[Row | BadRow]:
    """Reads a feed, one row at a time.

    Args:
        path: a file that ends in .jsonl, .ndjson, .json, .csv, .tsv (each also with .gz) or .parquet.
        mapping: the feed's column names by our fields (see parse_map); other fields go by our names.

    Raises:
        CatalogError: if the file cannot be read, or a column that is mapped or required stands in no row.
    """
    reader, tabular = _reader(path)
    mapping = mapping or {}
    columns = {name: mapping.get(name, name) for name in FIELDS}
    attributes = [(theirs, ours[len(ATTRIBUTE) :]) for ours, theirs in mapping.items() if ours.startswith(ATTRIBUTE)]
    missing = {theirs: ours for ours, theirs in [*((name, columns[name]) for name in REQUIRED), *mapping.items()]}
    names: dict[str, None] = {}  # of columns seen, while some are missing
    first = True
    for line, raw in reader(path):
        if isinstance(raw, Unusable):
            yield BadRow(line, raw.reason, raw.detail)
            continue
        if first and tabular:
            attributes += [(c, c[len(p) :]) for c in raw for p in _ATTRIBUTE_PREFIXES if c.startswith(p) and c != p]
        if missing:
            missing = {theirs: ours for theirs, ours in missing.items() if theirs not in raw}
            if len(names) < MAX_NAMES:
                names.update(dict.fromkeys(raw))
            if missing and tabular:
                break
        first = False
        if tabular:
            _type_texts(raw, columns)
        try:
            yield Row(line, product_from(raw, columns, attributes))
        except Unusable as error:
            yield BadRow(line, error.reason, error.detail)
    if missing and names:
        theirs, ours = next(iter(missing.items()))
        raise CatalogError(
            f"no row of {path} has a column {theirs!r} for {ours}; "
            f"its columns are {', '.join(list(names)[:MAX_NAMES])}: "
            f"name the right one with --map {ours}=COLUMN"
        )


def _reader(path: Path) -> tuple[Callable[[Path], Iterator[Raw]], bool]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[-2:-1] if zipped else suffixes[-1:]) or [""]
    if not path.is_file():
        raise CatalogError(f"there is no file {path}: check --catalog")
    if kind[0] in {".jsonl", ".ndjson", ".json"}:
        return _json_lines, False
    if kind[0] in {".csv", ".tsv"}:
        return _csv_rows, True
    if kind[0] == ".parquet" and not zipped:
        return _parquet_rows, True
    raise CatalogError(f"{path.name} is of no known kind: use .jsonl, .csv, .tsv (each also with .gz) or .parquet")


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _cut(path: Path, line: int, error: Exception) -> CatalogError:
    where = f" past line {line}" if line else ""
    return CatalogError(f"{path} cannot be read{where} ({str(error).splitlines()[0]}): fetch the file again")


def _json_lines(path: Path) -> Iterator[Raw]:
    line = 0
    try:
        with _open(path) as file:
            while data := file.readline(MAX_LINE):
                line += 1
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                    if data.lstrip().startswith(b"["):
                        raise CatalogError(
                            f"{path} is one JSON array: turn it into lines with `jq -c '.[]' {path.name}`"
                        )
                if len(data) >= MAX_LINE and not data.endswith(b"\n"):
                    while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield line, Unusable(Reason.BROKEN_JSON, f"the line is longer than {MAX_LINE} bytes")
                elif not data.isspace():
                    yield line, _json_row(data)
    except (EOFError, OSError, zlib.error) as error:
        raise _cut(path, line, error) from error


def _json_row(data: bytes) -> dict[str, Any] | Unusable:
    try:
        row = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            data.decode()
        except UnicodeDecodeError as encoding:
            return Unusable(Reason.BROKEN_ENCODING, f"byte {encoding.start} of the line is not UTF-8")
        return Unusable(Reason.BROKEN_JSON, str(error))
    if not isinstance(row, dict):
        return Unusable(Reason.WRONG_TYPE, f"the line holds {type(row).__name__}, not an object")
    return row


def _csv_rows(path: Path) -> Iterator[Raw]:
    csv.field_size_limit(MAX_CELL)
    delimiter = "\t" if ".tsv" in (suffix.lower() for suffix in path.suffixes[-2:]) else ","
    line = 1
    try:
        with _open(path) as file:
            lines = (data.decode("utf-8", "surrogateescape") for data in file)
            start = next(lines, "").removeprefix("\ufeff")
            reader = csv.reader(chain([start], lines), delimiter=delimiter, strict=True)
            header = _header(path, reader)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield line, Unusable(Reason.BROKEN_CSV, str(error))
                    continue
                if cells is None:
                    return
                if cells:
                    yield line, _csv_row(header, cells)
    except (EOFError, OSError, zlib.error) as error:
        raise _cut(path, line, error) from error


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
        "".join(header).encode()
    except (csv.Error, UnicodeEncodeError) as error:
        raise CatalogError(f"the header of {path} cannot be read ({error}): save the file as UTF-8 CSV") from error
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice or not any(header):
        problem = f"names {', '.join(twice)} twice" if twice else "is empty"
        raise CatalogError(f"the header of {path} {problem}: its first line must name every column once")
    return header


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any] | Unusable:
    if len(cells) != len(header):
        return Unusable(Reason.BROKEN_CSV, f"the row has {len(cells)} cells, the header {len(header)}")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return Unusable(Reason.BROKEN_ENCODING, "the row is not UTF-8")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _type_texts(raw: dict[str, Any], columns: Mapping[str, str]) -> None:
    """Turns the texts of a table into numbers, booleans and maps where a field wants them; what fails stays a text."""
    price, in_stock, attributes = (raw.get(columns[name]) for name in ("price", "in_stock", "attributes"))
    if isinstance(price, str):
        with suppress(ValueError):
            raw[columns["price"]] = float(price)
    if isinstance(in_stock, str):
        raw[columns["in_stock"]] = _BOOLEANS.get(in_stock.strip().lower(), in_stock)
    if isinstance(attributes, str):
        with suppress(orjson.JSONDecodeError):
            raw[columns["attributes"]] = orjson.loads(attributes)


def _parquet_rows(path: Path) -> Iterator[Raw]:
    import duckdb

    line = 0
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
            result = database.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [column[0] for column in result.description]
            while rows := result.fetchmany(1024):
                for values in rows:
                    line += 1
                    yield line, {name: _plain(value) for name, value in zip(names, values, strict=True)}
    except duckdb.Error as error:
        raise _cut(path, line, error) from error


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID) else value
