"""ghz as a cross-check: its totals beside ours, from the same rate and queries.

ghz counts a stream's time until it ends, from when the call was begun, not from when it should have been: its
percentiles leave out what its own queue hid. Its configurations lie in the repository's loadtest/ghz.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from millirank.errors import ConfigError, MillirankError
from millirank.v1 import search_pb2

from .channel import Target
from .summary import Summary, quantiles

INSTALL = "go install github.com/bojand/ghz/cmd/ghz@v0.120.0"
BINARY = "ghz"
SPARE = 120  # seconds that a run may take longer than its schedule
NANO = 1e-9


class NoGhz(MillirankError):
    """ghz is not installed, or did not run."""


def find() -> str:
    """Where ghz is.

    Raises:
        NoGhz: if it is not on the PATH.
    """
    found = shutil.which(BINARY)
    if found is None:
        raise NoGhz(f"ghz is not on the PATH: `{INSTALL}` puts it into $(go env GOPATH)/bin")
    return found


def constant(rate: float, seconds: float, connections: int) -> dict[str, Any]:
    """A configuration of an open loop at one rate: the defaults would use one connection and leave errors out."""
    return {
        "call": "millirank.v1.SearchService.Search",
        "insecure": True,
        "async": True,
        "rps": max(1, round(rate)),
        "total": max(1, round(rate * seconds)),
        "concurrency": connections,
        "connections": connections,
        "count-errors": True,
        "timeout": "5s",
    }


def read(path: Path) -> dict[str, Any]:
    """A configuration of the repository's.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no ghz configuration ({error}): take one from loadtest/ghz") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is no ghz configuration: take one from loadtest/ghz")
    return config


def measure(
    case: str,
    config: Mapping[str, Any],
    target: Target,
    queries: Sequence[str],
    *,
    limit: float,
    ghz: str | None = None,
) -> Summary:
    """Runs ghz and reads what it found.

    Args:
        case: names the figures.
        config: see constant() and read(); host, contract and queries are set here.
        target: where to.
        queries: sent in turn.
        limit: seconds that its schedule takes.
        ghz: the binary; None looks on the PATH.

    Raises:
        NoGhz: if it is not installed or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        contract = descriptor_pb2.FileDescriptorSet()
        search_pb2.DESCRIPTOR.CopyToProto(contract.file.add())
        (at / "contract.protoset").write_bytes(contract.SerializeToString())
        (at / "queries.json").write_text(json.dumps([{"query": query} for query in queries]), encoding="utf-8")
        made = {name: value for name, value in config.items() if name != "proto"}
        made |= {"protoset": str(at / "contract.protoset"), "data-file": str(at / "queries.json")}
        made |= {"host": target.address, "format": "json", "output": str(at / "found.json")}
        (at / "config.json").write_text(json.dumps(made), encoding="utf-8")
        command = [ghz or find(), "--config", str(at / "config.json")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit + SPARE)  # noqa: S603
            return summarize(case, json.loads((at / "found.json").read_text(encoding="utf-8")))
        except subprocess.TimeoutExpired as error:
            raise NoGhz(f"ghz did not end within {SPARE} s after its schedule: is {target.address} alive?") from error
        except (OSError, ValueError) as error:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] if "done" in locals() else []
            raise NoGhz(f"ghz failed ({' '.join(said) or error}): install it anew with `{INSTALL}`") from error


def summarize(case: str, found: Mapping[str, Any]) -> Summary:
    """The figures of ghz's JSON; latencies of calls that ended OK, until their stream ended."""
    seconds = found["total"] * NANO
    statuses = {_name(name): count for name, count in found["statusCodeDistribution"].items()}
    ended: dict[str, list[float]] = {}
    for call in found["details"]:
        ended.setdefault(_name(call["status"]), []).append(call["latency"] * NANO)
    return Summary(
        case=case,
        offered=found["count"] / seconds,
        seconds=seconds,
        sent=found["count"],
        answered=statuses.get("OK", 0),
        statuses=statuses,
        first={},
        final=quantiles(ended.get("OK", ())),
        refusal=quantiles(ended.get("RESOURCE_EXHAUSTED", ())),
        lag={},
        depth={},
        degraded={},
        client_cpu=0.0,
    )


def _name(status: str) -> str:
    """The name in gRPC of a status that Go calls ResourceExhausted or Canceled."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()
    return "CANCELLED" if name == "CANCELED" else name
