"""Building for the fused engine: kernels for the GPU here, timed on it, or for one that is elsewhere, untimed."""

import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines import baseline
from millirank_engines.base import BackendUnavailable, Engine, EngineError, Profile
from millirank_engines.build.graph import Form
from millirank_engines.build.nodes import Precision
from millirank_engines.build.parity import output_name, parity_feeds, words
from millirank_engines.build.profiles import Profiles, default_profiles, own_digest
from millirank_engines.build.progress import Progress
from millirank_engines.build.tensors import ModelRefused
from millirank_engines.cuda import open_cuda
from millirank_engines.device import Device
from millirank_engines.files import project_file
from millirank_engines.gpu import Gpu, any_gpu, sm, this_gpu
from millirank_engines.load import start_engine
from millirank_engines.manifest import Manifest
from millirank_engines.model import ModelSpec
from millirank_engines.program import FUSED, PROGRAM, Program, write_program

from .choices import unseen
from .joined import cuts, joint_buffers, joint_step
from .layers import Layers, Step
from .tuning import Bench, Chosen, candidates, fastest, fitting, untimed
from .variants import INSTALL, Compiled, Variant, all_compiled, available
from .weights import weights_of

if TYPE_CHECKING:
    from millirank_engines.build.export import Export

ASSUMED = (9, 0)  # where there is no GPU and no compute capability is named
ELSEWHERE = "its compiler has wheels for Linux only: build it on Linux, which needs no GPU for it"
RECIPE = (
    *("backend", "choices", "ends", "joined", "kernels", "layers", "network", "progress", "tiles", "tuning"),
    *("variants", "weights"),
)
Weights = Mapping[str, NDArray[np.generic]]  # as weights_of makes them
OLDEST = (8, 0)  # the first whose tensor cores take what the kernels ask of them


class Fused:
    """See Backend."""

    name = FUSED
    precisions: tuple[str, ...] = ("fp16",)
    libraries: tuple[str, ...] = ("triton",)
    recipe: tuple[str, ...] = (
        "../program.py",  # what kernels find where
        *(f"fused/{name}.py" for name in RECIPE),
    )
    form = Form()
    versions: Mapping[str, str] = {}

    def __init__(
        self, *, capability: tuple[int, int] | None = None, baselines: Path | None = None, gpu: Gpu | None = None
    ) -> None:
        """Finds the compiler and the GPU, and refuses what they or the baseline do not allow.

        Args:
            capability: the compute capability to build for; that of the GPU here by default.
            baselines: a baseline.toml; millirank's own by default.
            gpu: the one here; the first of this process by default.

        Raises:
            BackendUnavailable: if the compiler is not installed.
            EngineError: if the target is too old, or outside the baseline.
        """
        if not available():
            raise BackendUnavailable(FUSED, INSTALL if sys.platform == "linux" else ELSEWHERE)
        self._gpu = gpu or this_gpu()
        self.assumed = capability is None and self._gpu is None
        self.capability = capability or (self._gpu.capability if self._gpu else ASSUMED)
        if self.capability < OLDEST:
            raise EngineError(
                f"the kernels need {sm(OLDEST)} or later, not {sm(self.capability)}: use --backend tensorrt"
            )
        self._given = baselines
        path, here = baselines or project_file(baseline.NAME), {"gpu": sm(self.capability)}
        if self._gpu and self._here:
            here |= {"cuda": self._gpu.cuda, "driver": self._gpu.driver}
        self.baseline: Mapping[str, str] = baseline.pinned(path, baseline.read_baselines(path), FUSED, here)

    @property
    def _here(self) -> bool:
        """Whether what is built runs on this machine."""
        return self._gpu is not None and self._gpu.capability == self.capability

    @cached_property
    def device(self) -> Device:
        """See Backend."""
        if self._gpu and self._here:
            return self._gpu.device(platform.machine())
        return any_gpu([self.capability], platform.machine())

    def options(self) -> Mapping[str, Any]:
        """See Backend."""
        return {"capability": self.capability, "timed": self._here, "profiles_file": own_digest()}

    def arguments(self) -> list[str]:
        """See Backend."""
        elsewhere = [] if self._here else ["--compute-capability", "{}.{}".format(*self.capability)]
        return [*elsewhere, *(["--baseline", str(self._given)] if self._given else [])]

    def types(self, precision: str) -> Precision:
        """See Backend; the kernels read the weights themselves, no graph."""
        del precision
        return "fp32"

    def profiles(self, model: ModelSpec, asked: Profiles | None) -> Profiles:
        """See Backend."""
        return asked or default_profiles(model)

    def compile(self, source: "Export", folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:
        """See Backend."""
        del out
        network, inner = source.network, source.weights.shape("encoder.layer.0.intermediate.dense.weight")[0]
        layers = Layers(network, inner)
        layers.refuse_uncounted(profiles.buckets)
        try:
            weights = weights_of(network, source.weights)
        except OverflowError as error:
            raise ModelRefused(f"{source.spec.name} cannot be fused: {error}") from error
        if self.assumed:
            say(f"there is no GPU here: building for {self.device.name}; name another with --compute-capability")
        chosen = self._timed if self._here else self._untimed
        chosen(folder / PROGRAM, source, layers, profiles.buckets, weights, say)

    def _untimed(
        self,
        path: Path,
        source: "Export",
        layers: Layers,
        buckets: Sequence[Profile],
        weights: Weights,
        say: Progress,
    ) -> None:
        """Writes a program for a GPU that is elsewhere, with the likeliest sizes."""
        chosen = {bucket: Chosen(list(layers.steps(bucket, unseen(layers, bucket)))) for bucket in buckets}
        every = [step for one in chosen.values() for step in one.steps]
        made = self._compiled(every, say)
        if missing := {step.variant for step in every} - made.keys():
            raise EngineError(
                f"{len(missing)} kernels need more shared memory than {sm(self.capability)} has: build there"
            )
        self._write(path, source, layers, chosen, made, weights)

    def _timed(
        self,
        path: Path,
        source: "Export",
        layers: Layers,
        buckets: Sequence[Profile],
        weights: Weights,
        say: Progress,
    ) -> None:
        """Writes a program for the GPU here, with the sizes that are fastest on it."""
        cuda = open_cuda()  # if it cannot be had, that is known before all is compiled
        asked = {bucket: candidates(layers, bucket) for bucket in buckets}
        joint = {bucket: {cut: joint_step(layers, bucket, cut) for cut in cuts(layers, bucket)} for bucket in buckets}
        every = [s for one in asked.values() for named in one for sized in named.values() for s in sized.values()]
        made = self._compiled([*every, *(s for sized in joint.values() for s in sized.values())], say)
        left = {bucket: fitting(one, made) for bucket, one in asked.items()}
        joint = {bucket: {cut: s for cut, s in sized.items() if s.variant in made} for bucket, sized in joint.items()}
        chosen = {bucket: untimed(layers, bucket, left[bucket], joint[bucket]) for bucket in buckets}
        with TemporaryDirectory(dir=path.parent) as temporary:
            trial = Path(temporary) / PROGRAM
            self._write(trial, source, layers, chosen, made, weights)
            feeds = parity_feeds(source.spec, words(source.folder / "tokenizer.json", source.spec), buckets)
            with closing(Bench(trial, feeds, cuda)) as bench:
                for done, bucket in enumerate(buckets, 1):
                    chosen[bucket] = fastest(layers, bucket, left[bucket], joint[bucket], bench)
                    say(f"timing kernels: {done} of {len(buckets)} profiles")
        used = {step.variant: made[step.variant] for one in chosen.values() for step in one.steps}
        self._write(path, source, layers, chosen, used, weights)

    def _compiled(self, steps: list[Step], say: Progress) -> dict[Variant, Compiled]:
        return all_compiled(
            (step.variant for step in steps),
            self.capability,
            lambda done, of: say(f"compiling kernels: {done} of {of}"),
        )

    def _write(
        self,
        path: Path,
        source: "Export",
        layers: Layers,
        chosen: Mapping[Profile, Chosen],
        made: Mapping[Variant, Compiled],
        weights: Weights,
    ) -> None:
        """Writes the program of these steps."""
        network, task = layers.network, source.spec.task
        launches = {bucket: tuple(step.launch() for step in one.steps) for bucket, one in chosen.items()}
        joint = [bucket.batch for bucket, one in chosen.items() if one.counters]
        program = Program(
            kernels={variant.name: one.kernel for variant, one in made.items()},
            buffers=layers.buffers(launches) | (joint_buffers(layers, max(joint)) if joint else {}),
            launches=launches,
            counters={bucket: one.counters for bucket, one in chosen.items() if one.counters},
            output=output_name(task),
            width=network.hidden if task == "embed" else 0,
            types=network.type_ids,
        )
        write_program(path, program, weights, {variant.name: one.code for variant, one in made.items()})

    def engine(self, folder: Path, manifest: Manifest) -> Engine | None:
        """See Backend."""
        return start_engine(folder, manifest) if self._here else None


def fused_from(options: Mapping[str, Any]) -> Fused:
    """The backend with the options that `millirank engine build` was given.

    Raises:
        BackendUnavailable, EngineError: as Fused, or if it has no such option, or one cannot be read.
    """
    from millirank_engines.build.tensorrt import capabilities_of

    given = dict(options)
    baselines, written = given.pop("baseline", None), given.pop("compute_capability", None)
    if given:
        words_ = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise EngineError(f"{words_}: for TensorRT alone; leave it out, or build with --backend tensorrt")
    targets = capabilities_of(written) if written else ()
    if len(targets) > 1:
        raise EngineError(f"{written!r} are several compute capabilities: name one, an artifact is for one")
    return Fused(capability=targets[0] if targets else None, baselines=baselines)
