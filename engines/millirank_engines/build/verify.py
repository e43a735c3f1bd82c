"""Holds a sealed artifact to what was sealed with it, on the machine at hand: the test of any change of version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from millirank_engines.artifact import read_manifest, seal
from millirank_engines.base import EngineError, Profile
from millirank_engines.drift import LengthProfile
from millirank_engines.figures import Check, Latency
from millirank_engines.load import open_engine
from millirank_engines.manifest import Manifest

from .parity import PARITY, arithmetic, parity, rankings_agree, read_cases
from .place import building, move_into_place
from .timing import latencies

SLOWDOWN = 1.25  # of the median, against the sealed one


@dataclass(frozen=True)
class Report:
    """What verify found."""

    checks: tuple[Check, ...]  # parity with the FP32 reference, and agreement of rankings
    latencies: tuple[Latency, ...]
    slowdowns: tuple[tuple[Profile, Check], ...]  # against the sealed latencies, where there are any
    sealed: bool  # whether these are the artifact's own figures from now on

    @property
    def passed(self) -> bool:
        """Whether every check is within its bound."""
        return all(check.passed for check in self.checks) and all(check.passed for _, check in self.slowdowns)


def verify_engine(
    path: Path, *, seconds: float = 5.0, max_slowdown: float = SLOWDOWN, against: Path | None = None
) -> Report:
    """Loads a sealed artifact, holds it to its sealed reference again, here, and times it.

    An artifact that was built where it could not run is sealed anew with what is found, if that is within its bounds;
    until then it does not serve.

    Args:
        path: the artifact's folder.
        seconds: about how long to time.
        max_slowdown: how many times as long as sealed a profile's median may take.
        against: an artifact of the same model, such as that of the versions before, whose sealed latencies are
            compared instead of its own.

    Raises:
        ArtifactRefused: if it may not be loaded.
        EngineError: if the other artifact is of another model or has no latencies, or if its figures are to be sealed
            and its folder cannot be replaced.
    """
    before = _latencies_of(against, read_manifest(path)) if against else None
    loaded = open_engine(path, unverified=True)
    manifest = loaded.manifest
    before = manifest.latencies if before is None else before
    cases = read_cases(path / PARITY, manifest.profiles)
    task, half = manifest.model.task, arithmetic(manifest.backend, manifest.precision)
    try:
        checks = parity(loaded.engine, cases, task, half)
        agreement = rankings_agree(loaded.engine, cases, task, half)
        timed = latencies(loaded.engine, cases, seconds=seconds)
    finally:
        loaded.engine.close()
    report = Report((*checks, *agreement), timed, slowdowns(timed, before, max_slowdown), sealed=False)
    if manifest.verified or not report.passed:
        return report
    reseal(path, replace(manifest, parity=checks, latencies=timed))
    return replace(report, sealed=True)


def _latencies_of(path: Path, manifest: Manifest) -> tuple[Latency, ...]:
    other = read_manifest(path)
    if other.model.hash != manifest.model.hash:
        raise EngineError(f"{path} is of another model, {other.name}: compare with one of {manifest.name}")
    if not other.latencies:
        raise EngineError(
            f"{path} has no sealed latencies (those of a CPU depend on what runs beside it): compare with a GPU's"
        )
    return other.latencies


def slowdowns(timed: Sequence[Latency], sealed: Sequence[Latency], bound: float) -> tuple[tuple[Profile, Check], ...]:
    """How many times as long as sealed each profile's median took; nothing for a profile without a sealed one."""
    before = {one.profile: one.p50 for one in sealed}
    return tuple(
        (one.profile, Check("slowdown", one.p50 / before[one.profile], bound)) for one in timed if one.profile in before
    )


def reseal(path: Path, manifest: Manifest) -> None:
    """Replaces an artifact by the same files under another manifest, at once.

    Raises:
        EngineError: if its folder cannot be replaced.
    """
    try:
        with building(path) as folder:
            for name in manifest.files:
                (folder / name).hardlink_to(path / name)
            seal(folder, manifest)
            move_into_place(folder, path)
    except OSError as error:
        raise EngineError(
            f"{path} cannot be sealed anew ({error.strerror}): let this user write to {path.parent}, and try again"
        ) from error


def seal_demand(path: Path, demand: LengthProfile) -> None:
    """Seals an artifact anew with the lengths that it is calibrated and profiled for; what serves is untouched.

    Raises:
        ArtifactRefused: if it is not as it was sealed.
        EngineError: if its folder cannot be replaced.
    """
    reseal(path, replace(read_manifest(path), demand=demand))
