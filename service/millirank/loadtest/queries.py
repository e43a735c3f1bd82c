"""The query mix of a load test: what shoppers typed, as often as they typed it."""

import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path

from millirank.errors import ConfigError
from millirank.v1 import search_pb2


def read_queries(path: Path) -> list[str]:
    """The queries of a file, in its order, repeated as often as they stand there.

    A .csv needs a column `query`, a .jsonl an object with `query` or a bare string a line; any other file has one
    query a line. Blank queries are left out.

    Raises:
        ConfigError: if the file cannot be read or holds no query.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = _of_csv(file, path) if path.suffix == ".csv" else list(_of_lines(file, path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): name a UTF-8 file of queries with --queries") from error
    queries = [query.strip() for query in found if query.strip()]
    if not queries:
        raise ConfigError(f"{path} holds no query: give a CSV with a column `query`, JSON Lines, or one query a line")
    return queries


def requests(
    queries: list[str], *, seed: int | None = 1, limit: int = 0, depth: int = 0, most: int = 100_000
) -> list[bytes]:
    """Serialized millirank.v1.SearchRequests in shuffled order (None keeps the file's), at most `most`."""
    order = queries if seed is None else random.Random(seed).sample(queries, len(queries))  # noqa: S311 - a load
    made = (search_pb2.SearchRequest(query=query, limit=limit, rerank_depth=depth) for query in order[:most])
    return [request.SerializeToString() for request in made]


def _of_csv(file: Iterable[str], path: Path) -> list[str]:
    rows = csv.DictReader(file)
    if "query" not in (rows.fieldnames or ()):
        raise ConfigError(f"{path} has no column `query`, only {', '.join(rows.fieldnames or ())}: rename one")
    return [row["query"] or "" for row in rows]


def _of_lines(file: Iterable[str], path: Path) -> Iterable[str]:
    for number, line in enumerate(file, 1):
        if path.suffix != ".jsonl" or not line.strip():
            yield line
            continue
        try:
            value = json.loads(line)
            yield value if isinstance(value, str) else str(value["query"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'{path}, line {number}: write {{"query": "…"}} or a string') from error
