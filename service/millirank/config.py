"""Settings of the service: frozen, parsed once, unknown keys refused."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from .errors import ConfigError

LAST_PORT = 65535
SCHEDULERS = ("sla", "count")
MAX_LIMIT = 100  # hits a request; part of the contract
MAX_QUERY_CHARACTERS = 1000  # part of the contract
MAX_BATCH_QUERIES = 100  # queries a BatchSearch; part of the contract


@dataclass(frozen=True)
class Settings:
    """Everything that `millirank serve` can be told."""

    index: Path  # made by `millirank index`
    engines: Path | None = None  # holds encoder/ and reranker/; None means index/engines
    host: str = "127.0.0.1"
    port: int = 50051  # 0 lets the system choose
    sla_ms: float = 10.0  # from arrival to the final message; 0 means no limit
    reply_reserve_ms: float = 2.0  # kept back from the deadline for gRPC, at least: a rehearsal may show more
    rerank_depth: int = 50  # candidates, at most
    candidates: int = 100  # from each of the two indexes
    drain_seconds: float = 10.0  # how long SIGTERM waits for what was accepted
    threads: int = 0  # of the CPU engine; 0 means one a core
    frontends: int = 0  # processes that speak gRPC; 0 means one process does everything
    devices: tuple[str, ...] = ("cpu",)  # one core each: cpu, cpu:NODE (a socket), or the UUID of a GPU or MIG slice
    metrics_port: int = 9464  # of /metrics; 0 means none
    traffic_sample: Path | None = None  # a folder for a sample of what is served; None keeps nothing
    trace: Path | None = None  # a folder for the times of answered Search calls' steps; None keeps none
    scheduler: str = "sla"  # or "count": batches by requests at fixed depth, as others do it, to compare with

    def __post_init__(self) -> None:
        """Refuses values that no server could run with."""
        least = {
            "port": 0,
            "sla_ms": 0,
            "reply_reserve_ms": 0,
            "rerank_depth": 0,
            "candidates": 1,
            "drain_seconds": 0,
            "threads": 0,
            "frontends": 0,
            "metrics_port": 0,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"{name} is {getattr(self, name)}: set it to {bound} or more")
        for name in ("port", "metrics_port"):
            if getattr(self, name) > LAST_PORT:
                raise ConfigError(f"{name} is {getattr(self, name)}: set it to {LAST_PORT} or less")
        if self.scheduler not in SCHEDULERS:
            raise ConfigError(f"scheduler is {self.scheduler!r}: set it to one of {', '.join(SCHEDULERS)}")
        if not self.devices or (len(self.devices) > 1 and not self.frontends):
            raise ConfigError(f"devices is {list(self.devices)}: name one, or several with frontends = 1 or more")
        if self.sla_ms and self.sla_ms <= self.reply_reserve_ms:
            reserve = self.reply_reserve_ms
            raise ConfigError(f"sla_ms is {self.sla_ms}, of which {reserve} are kept back for the reply: raise sla_ms")

    @property
    def engine_folder(self) -> Path:
        """Where the sealed engines lie."""
        return self.engines or self.index / "engines"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Settings from plain data.

        Raises:
            ConfigError: if a key is unknown or a value is of the wrong type.
        """
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {', '.join(unknown)}: the settings are {', '.join(known)}")
        if "index" not in values:
            raise ConfigError("no index is set: name the folder that `millirank index` wrote with --index DIR")
        parsed = {name: _parsed(name, value) for name, value in values.items()}
        return cls(**parsed)

    @classmethod
    def from_toml(cls, path: Path, overrides: Mapping[str, Any]) -> Self:
        """Settings from a TOML file, with overrides from the command line.

        Raises:
            ConfigError: if the file cannot be read or a setting is wrong.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} is no readable TOML file ({error}): mend it or leave out --config") from error
        return cls.from_mapping({**values, **overrides})


_PATHS = ("index", "engines", "traffic_sample", "trace")
_TEXTS = {"host": "a name or an address", "scheduler": f"one of {', '.join(SCHEDULERS)}"}
_FLOATS = ("sla_ms", "reply_reserve_ms", "drain_seconds")


def _parsed(name: str, value: Any) -> Any:  # noqa: ANN401 - checks what comes from a file
    if name in _PATHS:
        if isinstance(value, str | Path) or (value is None and name != "index"):
            return None if value is None else Path(value)
        raise ConfigError(f"{name} is {value!r}: give a path")
    if name in _TEXTS:
        if isinstance(value, str):
            return value
        raise ConfigError(f"{name} is {value!r}: give {_TEXTS[name]}")
    if name == "devices":
        if isinstance(value, list | tuple) and all(isinstance(device, str) for device in value):
            return tuple(value)
        raise ConfigError(f"devices is {value!r}: give a list such as ['cpu']")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} is {value!r}: give a number")
    if name in _FLOATS:
        return float(value)
    if value != int(value):
        raise ConfigError(f"{name} is {value!r}: give a whole number")
    return int(value)
