"""A device as the simulation knows it: what its engines take, how that varies, and what the work around them takes."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from millirank.errors import ConfigError
from millirank_engines.base import EngineError, Profile
from millirank_engines.manifest import parse_profile

from .noise import Lognormal, Noise

FOLDER = Path(__file__).parent / "devices"
MEASURED_QUANTILE = 0.5  # of the runs, which a core's warm-up keeps
Seconds = Mapping[Profile, float]


@dataclass(frozen=True)
class Around:
    """Seconds of work around the engines.

    Attributes:
        accept: a frontend's event loop, from bytes to tokens on their way to a core.
        refuse: the same for a query that is refused.
        retrieve: the frontend's reader, both indexes and the first products.
        reply: the frontend's event loop, one of the two messages.
        hop: between frontend and core, each way.
        batch: a lane of the core, policy and bookkeeping of one batch.
        sequence: packing one sequence; part of what the core measures.
        wire: gRPC outside our code, both ways of a message together: the client sees it, a deadline does not.
    """

    accept: float = 0.20e-3
    refuse: float = 0.15e-3
    retrieve: float = 0.20e-3
    reply: float = 0.15e-3
    hop: float = 0.10e-3
    batch: float = 0.10e-3
    sequence: float = 2.0e-6
    wire: float = 0.0

    @property
    def loop(self) -> float:
        """Of an answered query, on its frontend's event loop."""
        return self.accept + 2 * self.reply


@dataclass(frozen=True)
class Slowdown:
    """How many times as long each lane takes while the other one runs."""

    encode: float = 1.0
    rerank: float = 1.0


class Fit:
    """Seconds as an affine function of padded tokens: the least squares of the relative residuals."""

    def __init__(self, seconds: Seconds) -> None:
        tokens = np.array([profile.tokens for profile in seconds], np.float64)
        taken = np.array(list(seconds.values()), np.float64)
        rows = np.stack([1 / taken, tokens / taken], axis=1)
        fixed, each = np.linalg.lstsq(rows, np.ones(len(taken)), rcond=None)[0] if len(taken) > 1 else (taken[0], 0.0)
        self.fixed, self.each = max(0.0, float(fixed)), max(0.0, float(each))  # seconds, and seconds a token

    def __call__(self, profile: Profile) -> float:
        """Seconds of a shape that was not measured."""
        return self.fixed + self.each * profile.tokens


@dataclass(frozen=True)
class Device:
    """What serves queries: one GPU, MIG slice or CPU.

    Attributes:
        name: what `--device` says.
        source: where the figures come from.
        encode: median seconds of each shape of the encoder.
        rerank: median seconds of each shape of the reranker.
        noise: on those.
        around: the work around the engines.
        slowdown: of the lanes, side by side.
    """

    name: str
    encode: Seconds
    rerank: Seconds
    source: str = ""
    noise: Noise = field(default_factory=Lognormal)
    around: Around = field(default_factory=Around)
    slowdown: Slowdown = field(default_factory=Slowdown)

    @property
    def idle(self) -> float:
        """Seconds of the first stage's own work for a query that finds nobody: what the rehearsal measures."""
        around = self.around
        return around.accept + 2 * around.hop + around.retrieve

    @classmethod
    def named(cls, name: str) -> Self:
        """One of the devices that ship.

        Raises:
            ConfigError: if there is none of that name.
        """
        path = FOLDER / f"{name}.toml"
        known = sorted(file.stem for file in FOLDER.glob("*.toml"))
        if name not in known:
            raise ConfigError(f"no device is called {name!r}: choose {', '.join(known)}, or give its --costs FILE")
        return cls._parsed(name, tomllib.loads(path.read_text(encoding="utf-8")))

    def measured(self, path: Path) -> Self:
        """This device with a table that a core has measured.

        Args:
            path: JSON, {"device": NAME, "encode": {"1x8": SECONDS, ...}, "rerank": {...}}; "quantile" may say which
                of the runs the seconds are (0.5, what a core keeps). Packing is part of them.

        Raises:
            ConfigError: if it is anything else.
        """
        try:
            table = msgspec.json.decode(path.read_bytes(), type=_Table)
            encode, rerank = _seconds(table.encode), _seconds(table.rerank)
        except (OSError, msgspec.DecodeError, EngineError) as error:
            fix = 'write {"device": NAME, "encode": {"1x8": SECONDS}, "rerank": {"50x32": SECONDS}}'
            raise ConfigError(f"{path} is no cost table ({error}): {fix}") from error
        if not encode or not rerank or min(*encode.values(), *rerank.values()) <= 0 or not 0 < table.quantile < 1:
            raise ConfigError(f"{path} is no cost table: give shapes, seconds above 0 and a quantile within 0 and 1")
        median = 1 / self.noise.quantile(table.quantile)
        return replace(
            self,
            name=table.device,
            source=str(path),
            encode={profile: cost * median for profile, cost in encode.items()},
            rerank={profile: cost * median for profile, cost in rerank.items()},
        )

    def slice(self, slices: int) -> Self:
        """One of so many equal parts of the device.

        Assumed: what grows with tokens takes that many times as long, what does not (launches, latency) stays.

        Args:
            slices: of the device; 7 are the most that MIG makes of an H100.

        Raises:
            ConfigError: if there is no such part.
        """
        if slices < 1:
            raise ConfigError(f"{slices} slices are none: use --slices 1 for a whole device, 7 for the smallest of MIG")
        if slices == 1:
            return self
        encode, rerank = _sliced(self.encode, slices), _sliced(self.rerank, slices)
        return replace(self, name=f"{self.name} 1/{slices}", encode=encode, rerank=rerank)

    @classmethod
    def _parsed(cls, name: str, data: Mapping[str, Any]) -> Self:
        around = Around(**{f.name: float(data["around"].get(f.name, f.default)) for f in fields(Around)})
        tables = []
        for lane in ("encode", "rerank"):
            seconds = {profile: ms / 1e3 for profile, ms in _seconds(data[lane]).items()}
            fit = Fit(seconds)
            fitted = map(parse_profile, data.get("fitted", {}).get(lane, ()))
            whole = {**{profile: fit(profile) for profile in fitted}, **seconds}
            tables.append({p: cost + around.sequence * p.batch for p, cost in sorted(whole.items())})
        noise, slowdown = Lognormal(**data["noise"]), Slowdown(**data["slowdown"])
        return cls(name, tables[0], tables[1], data["source"], noise, around, slowdown)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: str
    encode: dict[str, float]
    rerank: dict[str, float]
    quantile: float = MEASURED_QUANTILE


def _seconds(table: Mapping[str, float]) -> dict[Profile, float]:
    return {parse_profile(profile): float(cost) for profile, cost in table.items()}


def _sliced(seconds: Seconds, slices: int) -> Seconds:
    fixed = min(Fit(seconds).fixed, *seconds.values()) if len(seconds) > 1 else 0.0
    return {profile: fixed + (cost - fixed) * slices for profile, cost in seconds.items()}
