"""INT8 before it is sealed: through the gate, and, where that is asked for, against the float engine by the clock."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from millirank_engines.base import Engine, EngineError
from millirank_engines.build.parity import Case, arithmetic, parity
from millirank_engines.build.progress import Progress
from millirank_engines.figures import Choice, Figure
from millirank_engines.load import start_engine
from millirank_engines.manifest import Manifest

from .choice import chosen, loser, medians, mixed, spread
from .gate import held_to, refuse_losses
from .int8 import AUTO, INT8

if TYPE_CHECKING:
    from millirank_engines.build.request import Request


@dataclass(frozen=True)
class Trial:
    """One build's INT8 engine, compiled and not sealed yet."""

    request: "Request"
    manifest: Manifest  # without what is found here
    parts: Mapping[str, Path]  # folders of what was compiled, by precision
    reference: Path  # the FP32 graph
    proxy: Path  # the Q/DQ graph in FP32, for where the engine itself cannot run

    def settled(self, cases: Sequence[Case], say: Progress) -> Manifest:
        """The manifest with what the gate measured and what was chosen.

        Raises:
            GateFailed: if INT8 alone is asked for and loses more than it may.
            EngineError: if there is nothing to judge by, or no device to measure on.
        """
        int8 = self.request.int8
        assert int8 is not None  # noqa: S101 - there is no trial without
        say("holding INT8 to its gate")
        figures = held_to(self._figures(say), int8.allowed)
        about = {**int8.scales.about, "groups": len(int8.scales.amax), "weight_bits": int8.scales.weight_bits}
        manifest = replace(self.manifest, accuracy=figures, quantization=about)
        if self.request.precision != AUTO:
            refuse_losses(manifest.name, figures)
            return manifest
        base = self.request.precisions[0]
        if reason := self._unfit(figures, cases):
            say(f"INT8 is left out: {reason}")
            return replace(manifest, precision=base, quantization={**about, "left_out": reason})
        say(f"timing {base} beside INT8")
        choices = self._choices(base, cases)
        kept = [precision for precision in (base, INT8) if any(c.precision == precision for c in choices)]
        if INT8 not in kept:
            about["left_out"] = f"it is not faster than {base} here"
        return replace(manifest, precision="+".join(kept), choices=choices, quantization=about)

    def _figures(self, say: Progress) -> Sequence[Figure]:
        int8 = self.request.int8
        if int8 is None or int8.judge is None:
            return int8.sealed() if int8 else ()
        from millirank_engines.openvino import OpenVinoEngine

        reference = OpenVinoEngine(self.reference, self.manifest.profiles, "fp32")
        try:
            with self._running(INT8, static=False) as engine:
                if engine is not None:
                    return int8.judge(reference, engine, say)
            say("this machine cannot run it: its graph is held to the gate in OpenVINO")
            proxy = OpenVinoEngine(self.proxy, self.manifest.profiles, "fp32")
            try:
                return int8.judge(reference, proxy, say)
            finally:
                proxy.close()
        finally:
            reference.close()

    def _unfit(self, figures: Sequence[Figure], cases: Sequence[Case]) -> str:
        """Why auto cannot choose INT8; nothing if it can."""
        if lost := [str(figure) for figure in figures if not figure.passed]:
            return f"it loses too much: {'; '.join(lost)}"
        with self._running(INT8, static=False) as engine:
            if engine is None:
                raise EngineError(
                    f"auto chooses by measurement, and {self.manifest.device.name} is not here: build where it serves, "
                    "or with --precision fp16 or int8"
                )
            checks = parity(engine, cases, self.request.task, arithmetic(self.manifest.backend, INT8))
        return "; ".join(f"{check}" for check in checks if not check.passed)

    def _choices(self, base: str, cases: Sequence[Case]) -> tuple[Choice, ...]:
        """Measured on what serves, small shapes with their static models."""
        int8 = self.request.int8
        assert int8 is not None  # noqa: S101 - there is no trial without
        together = self.request.task == "rerank"
        some = spread([case.profile for case in cases], int8.timed if together else None)
        feeds = {case.profile: case.feeds for case in cases if case.profile in some}
        with self._running(base) as first, self._running(INT8) as second:
            assert first is not None  # noqa: S101 - _unfit has run one
            assert second is not None  # noqa: S101 - as above
            alone = {base: dict.fromkeys(feeds, first), INT8: dict.fromkeys(feeds, second)}
            made = chosen(medians(alone, feeds, int8.clock), base, INT8, together=together)
            while mixed(made):
                name = f"{base}+{INT8}"
                mixture = {choice.profile: alone[choice.precision][choice.profile] for choice in made}
                times = medians({base: alone[base], name: mixture}, feeds, int8.clock)
                slow = loser(made, times, base, INT8, name)
                if slow is None:
                    made = tuple(replace(one, times={**one.times, **times[one.profile]}) for one in made)
                    break
                made = tuple(replace(one, precision=base) if one.profile == slow else one for one in made)
        untimed = [Choice(case.profile, made[0].precision, {}) for case in cases if case.profile not in some]
        return tuple(sorted([*made, *untimed], key=lambda choice: choice.profile))

    @contextmanager
    def _running(self, precision: str, *, static: bool = True) -> Iterator[Engine | None]:
        """What was compiled at a precision; None where it cannot run."""
        manifest = replace(self.manifest, precision=precision)
        backend = self.request.backend
        on_cpu = manifest.device.kind == "cpu"
        folder = self.parts[precision]
        engine = start_engine(folder, manifest, static=static) if on_cpu else backend.engine(folder, manifest)
        try:
            yield engine
        finally:
            if engine is not None:
                engine.close()
