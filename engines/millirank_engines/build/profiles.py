"""Profiles as data: the buckets that serve, and the ranges of shapes that a TensorRT plan is optimized for.

A profiles.toml has a table for each task:

    [rerank]
    buckets = ["2x24", "50x32"]                   # what serves: sequences x tokens

    [[rerank.optimization]]                       # as many as the plan is to have
    batch = { min = 1, opt = 50, max = 64 }       # sequences; kernels are chosen for opt
    length = { min = 24, opt = 32, max = 32 }     # tokens

A bucket runs on the narrowest optimization profile that holds it. On an H100 one narrow profile ran 15 % faster than
two wide ones and was built in three quarters of the time.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from millirank_engines.artifact import digest
from millirank_engines.base import EngineError, Profile
from millirank_engines.files import project_file
from millirank_engines.manifest import parse_profile
from millirank_engines.model import ModelSpec, Task
from millirank_engines.pack import pair_length

NAME = "profiles.toml"
TASKS: tuple[Task, ...] = ("embed", "rerank")


@dataclass(frozen=True)
class Range:
    """What one dimension may be, and what kernels are chosen for."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise EngineError(f"{self} is no range: write 1 ≤ min ≤ opt ≤ max")

    def holds(self, value: int) -> bool:
        """Whether the value is one of them."""
        return self.min <= value <= self.max

    def __str__(self) -> str:
        return f"{self.min}…{self.opt}…{self.max}"


@dataclass(frozen=True)
class OptimizationProfile:
    """The shapes that one part of a plan is made for."""

    batch: Range  # sequences
    length: Range  # tokens

    def holds(self, bucket: Profile) -> bool:
        """Whether the bucket runs on it."""
        return self.batch.holds(bucket.batch) and self.length.holds(bucket.length)

    def shapes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(batch, length) at min, opt and max."""
        b, n = self.batch, self.length
        return (b.min, n.min), (b.opt, n.opt), (b.max, n.max)

    def __str__(self) -> str:
        return f"{self.batch} x {self.length}"


@dataclass(frozen=True)
class Profiles:
    """The buckets that serve, sorted, and the optimization profiles that hold them (empty: an engine without any)."""

    buckets: tuple[Profile, ...]
    optimization: tuple[OptimizationProfile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a key."""
        return {"buckets": [str(b) for b in self.buckets], "optimization": [asdict(o) for o in self.optimization]}

    def to_toml(self, task: Task) -> str:
        """The table that read_profiles reads."""
        rows: dict[int, list[str]] = {}
        for bucket in self.buckets:
            rows.setdefault(bucket.batch, []).append(f'"{bucket}"')
        lines = [f"[{task}]", "buckets = [", *(f"  {', '.join(row)}," for row in rows.values()), "]"]
        for one in self.optimization:
            spans = [
                f"{name} = {{ min = {r.min}, opt = {r.opt}, max = {r.max} }}"
                for name, r in (("batch", one.batch), ("length", one.length))
            ]
            lines += ["", f"[[{task}.optimization]]", *spans]
        return "\n".join(lines) + "\n"


def read_profiles(path: Path, task: Task) -> Profiles:
    """The profiles that a file declares for a task.

    Raises:
        EngineError: if it cannot be read, is wrong, or has an optimization profile without a bucket or a bucket
            without an optimization profile.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): give a profiles.toml to --profiles") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} is no TOML ({error}): see `{NAME}` of millirank for the form") from error
    table = data.get(task)
    if not isinstance(table, dict):
        raise EngineError(f"{path} has no table [{task}]: add one with `buckets` and `[[{task}.optimization]]`")
    try:
        _refuse_unknown(data.keys(), TASKS)
        _refuse_unknown(table.keys(), ("buckets", "optimization"))
        buckets = tuple(sorted({parse_profile(text) for text in table["buckets"]}))
        optimization = tuple(_optimization(entry) for entry in table.get("optimization", ()))
        refuse_uncovered(Profiles(buckets, optimization))
    except (EngineError, KeyError, TypeError, AttributeError) as error:
        reason = f"misses {error}" if isinstance(error, KeyError) else str(error)
        raise EngineError(f"{path}, [{task}]: {reason}") from error
    return Profiles(buckets, optimization)


def _refuse_unknown(keys: Iterable[str], known: Sequence[str]) -> None:
    if unknown := sorted(set(keys) - set(known)):
        raise EngineError(f"unknown keys {', '.join(unknown)}: use {', '.join(known)}")


def _optimization(entry: Mapping[str, Mapping[str, int]]) -> OptimizationProfile:
    _refuse_unknown(entry.keys(), ("batch", "length"))
    return OptimizationProfile(Range(**entry["batch"]), Range(**entry["length"]))


def refuse_uncovered(profiles: Profiles) -> None:
    """Refuses buckets without an optimization profile, if there is one, and optimization profiles without a bucket.

    Raises:
        EngineError: naming all of them; or if there is no bucket.
    """
    if not profiles.buckets:
        raise EngineError("there is no bucket: add the shapes that serve, such as 1x16")
    if not profiles.optimization:
        return
    alone = [str(b) for b in profiles.buckets if not any(o.holds(b) for o in profiles.optimization)]
    idle = [str(o) for o in profiles.optimization if not any(o.holds(b) for b in profiles.buckets)]
    if alone:
        raise EngineError(f"no optimization profile holds {', '.join(alone)}: widen one, or leave these buckets out")
    if idle:
        raise EngineError(f"no bucket runs on {', '.join(idle)}: leave these optimization profiles out, or add buckets")


def profiles_around(buckets: Sequence[Profile]) -> Profiles:
    """The buckets with one optimization profile as narrow as they allow, optimized for the one of most tokens."""
    best = max(buckets, key=lambda b: (b.tokens, b.batch))
    batches, lengths = [b.batch for b in buckets], [b.length for b in buckets]
    around = OptimizationProfile(
        Range(min(batches), best.batch, max(batches)), Range(min(lengths), best.length, max(lengths))
    )
    return Profiles(tuple(sorted(buckets)), (around,))


def longest_input(model: ModelSpec) -> int:
    """Tokens of the longest input that the model's template makes, special ones included."""
    template = model.template
    if model.task == "embed":
        longest = max(template.query_tokens, template.product_tokens) + 2
    else:
        longest = pair_length(template.query_tokens, template.product_tokens, model)
    return min(longest, model.max_length)


def needed(profiles: Profiles, model: ModelSpec) -> Profiles:
    """Those of the profiles that the model's template can use, none longer than the model's positions allow.

    Optimization profiles shrink to what is left of them.

    Raises:
        EngineError: if even the longest bucket is too short for the template.
    """
    longest = longest_input(model)
    shortened = {replace(b, length=min(b.length, model.max_length)) for b in profiles.buckets}
    lengths = sorted({b.length for b in shortened})
    last = next((n for n in lengths if n >= longest), None)
    if last is None:
        raise EngineError(
            f"{model.name} reads texts of up to {longest} tokens by its template, the profiles end at "
            f"{lengths[-1]}: give --profiles a file or a list that goes on to {longest}"
        )
    buckets = tuple(sorted(b for b in shortened if b.length <= last))
    left = []
    for one in profiles.optimization:
        held = [b for b in buckets if one.holds(b)]
        if held:
            end = max(b.length for b in held)
            length = replace(one.length, opt=min(one.length.opt, end), max=end)
            left.append(replace(one, length=length))
    return Profiles(buckets, tuple(left))


def own_digest() -> str:
    """The sha256 of millirank's own profiles: part of a key, because they are what is taken by default."""
    own = project_file(NAME)
    return digest({task: read_profiles(own, task).to_json() for task in TASKS})


def default_profiles(model: ModelSpec) -> Profiles:
    """What millirank's own profiles.toml declares, as far as the model's template needs it."""
    return needed(read_profiles(project_file(NAME), model.task), model)
