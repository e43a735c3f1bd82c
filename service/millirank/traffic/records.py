"""The records of traffic: JSON Lines, of a server's sample or of anybody's own making."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from millirank.errors import ConfigError

KNOWN = {"query", "depth", "lengths", "candidates", "weight"}
FORM = '{"query": "usb c cable", "depth": 50}'
SUFFIX = ".jsonl"
RECORD_BYTES = 8192  # of a line that is written: a query of 1,000 characters and the lengths of 100 pairs always fit


@dataclass(frozen=True)
class Asked:
    """One request of a traffic file."""

    query: str
    depth: int  # candidates that the reranker was given
    lengths: tuple[int, ...] | None  # tokens of its pairs, special ones included
    candidates: tuple[str, ...] | None  # product ids, in the order in which the reranker was given them
    weight: float = 1.0  # served requests that it stands for


def read_traffic(path: Path, depth: int) -> list[Asked]:
    """The requests of a traffic file: a JSON object a line, with `query` and, if measured, the rest.

    Args:
        path: of the JSON Lines file, or of a folder that holds several: what `millirank serve --traffic-sample` wrote.
        depth: candidates of a request that tells neither its depth, nor lengths, nor candidates.

    Raises:
        ConfigError: if it cannot be read, a line is of another form, or it holds no request.
    """
    asked = [one for file in _files(path) for one in read_records(file, depth)]
    if not asked:
        raise ConfigError(f"{path} holds no request: write a JSON object a line, such as {FORM}")
    return asked


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        return sorted(path.glob(f"*{SUFFIX}"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give this user the right to read it") from error


def read_records(file: Path, depth: int) -> list[Asked]:
    """The requests of one file; it may hold none.

    Raises:
        ConfigError: if it cannot be read or a line is of another form.
    """
    try:
        lines = file.read_text("utf-8-sig").split("\n")  # other ends of lines may stand in a product id
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}): name a JSON Lines file with --from") from error
    return [_asked(file, number, line, depth) for number, line in enumerate(lines, 1) if line.strip()]


def _asked(path: Path, number: int, line: str, depth: int) -> Asked:
    try:
        data = json.loads(line)
        wrong = ", ".join(sorted(data.keys() - KNOWN))
        made = _of_json(data, depth)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}, line {number} ({error!r}): write an object such as {FORM}") from error
    if wrong or made.depth < 0 or min(made.lengths or (1,)) < 1 or not 0 < made.weight < math.inf:
        reason = f"unknown: {wrong}" if wrong else "a number is negative"
        raise ConfigError(f"{path}, line {number} ({reason}): use {', '.join(sorted(KNOWN))}, such as {FORM}")
    return made


def _of_json(data: Mapping[str, Any], depth: int) -> Asked:
    lengths, candidates = data.get("lengths"), data.get("candidates")
    known = lengths if lengths is not None else candidates
    return Asked(
        str(data["query"]),
        int(data["depth"]) if "depth" in data else depth if known is None else len(known),
        None if lengths is None else tuple(int(n) for n in lengths),
        None if candidates is None else tuple(str(id_) for id_ in candidates),
        float(data.get("weight", 1.0)),
    )


def line_of(asked: Asked, weight: float) -> bytes:
    """A record as one line, of RECORD_BYTES at most: what does not fit is left out, candidates before lengths.

    Args:
        asked: the request.
        weight: served requests that it stands for now; written if that is more than itself.
    """
    data: dict[str, Any] = {"query": asked.query, "depth": asked.depth}
    if weight != 1.0:
        data["weight"] = round(weight, 6)
    optional = {"lengths": asked.lengths, "candidates": asked.candidates}
    for kept in (("lengths", "candidates"), ("lengths",), ()):
        line = orjson.dumps(data | {name: optional[name] for name in kept if optional[name] is not None}) + b"\n"
        if len(line) <= RECORD_BYTES:
            break
    return line
