"""Which layers suffer from INT8: each quantized alone, then the worst left in float until the rest is good enough."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank_engines.artifact import digest, sha256_of
from millirank_engines.base import EngineError, Profile
from millirank_engines.build.export import export_model
from millirank_engines.build.graph import Form
from millirank_engines.build.parity import output_name
from millirank_engines.build.progress import Progress
from millirank_engines.device import library_version
from millirank_engines.model import Task, Template

from .data import CalibrationData
from .inference import run_batches
from .scales import Scales

ERROR = 0.1  # of scores, in standard deviations of FP32's: root mean square
EXACT = Form(rounded_weights=True)
COSINE = 0.997  # of embeddings, at least: those at 0.9946 lost .0032 of nDCG@10 where .003 is allowed


@dataclass(frozen=True)
class Deviation:
    """How far outputs are from FP32's."""

    error: float  # root mean square, in standard deviations of FP32's outputs
    cosine_p1: float | None = None  # of embeddings, with FP32's
    cosine_mean: float | None = None

    @property
    def good(self) -> bool:
        """Whether it is near enough for the gate to be asked."""
        return self.error <= ERROR if self.cosine_p1 is None else self.cosine_p1 >= COSINE


class Deviations:
    """Runs graphs with some scales in OpenVINO, and compares them with FP32, on data that is held back.

    Products are exact, as on every device that multiplies INT8 in hardware.

    Args:
        source: of the model, as export_model takes it.
        task: embed or rerank.
        held: data that it was not calibrated on.
        work: a folder for graphs and for what was found of each: a sweep that was stopped goes on there.
        template: of texts; the model's own by default.
    """

    def __init__(
        self, source: str, *, task: Task, held: CalibrationData, work: Path, template: Template | None = None
    ) -> None:
        self._source, self._task, self._held, self._template = source, task, held, template
        self._folder, self._found = work / "trial", work / "deviations"
        self._output = output_name(task)
        onnx = self._exported(Scales())
        self._about = {"fp32": sha256_of(onnx), "held": held.digest, "openvino": library_version("openvino")}
        self._reference = self._outputs(onnx)

    def __call__(self, scales: Scales) -> Deviation:
        """How far a graph with these scales is from FP32; reckoned once."""
        onnx = self._exported(scales)
        path = self._found / f"{digest({**self._about, 'graph': sha256_of(onnx)})[:16]}.json"
        try:
            return Deviation(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):  # as if there were nothing
            found = deviation(self._outputs(onnx), self._reference)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(asdict(found)), "utf-8")
            part.replace(path)
            return found

    def _exported(self, scales: Scales) -> Path:
        made = export_model(
            self._source, self._folder, task=self._task, template=self._template, form=EXACT, scales=scales
        )
        return made.folder / "model.onnx"

    def _outputs(self, onnx: Path) -> NDArray[np.float32]:
        from millirank_engines.openvino import OpenVinoEngine

        profiles = {Profile(*batch["input_ids"].shape) for batch in self._held.batches}
        engine = OpenVinoEngine(onnx, tuple(profiles), "fp32")
        try:
            return run_batches(engine, self._held.batches, self._output)
        finally:
            engine.close()


def deviation(got: NDArray[np.float32], reference: NDArray[np.float32]) -> Deviation:
    """Compares outputs: embeddings (rows, dim) of unit length, or scores (rows,)."""
    error = float(np.sqrt(np.square(got - reference).mean()) / max(float(reference.std()), 1e-9))
    if reference.ndim == 1:
        return Deviation(error)
    cosine = np.einsum("ij,ij->i", got, reference)
    return Deviation(error, float(np.quantile(cosine, 0.01)), float(cosine.mean()))


def spared(scales: Scales, measure: Callable[[Scales], Deviation], say: Progress) -> Scales:
    """The scales with the most sensitive groups left in float, as few as the criterion wants; about holds the table.

    Args:
        scales: with all groups.
        measure: such as Deviations.
        say: told how far it is.

    Raises:
        EngineError: if nothing is left to quantize.
    """
    groups = list(scales.amax)
    table = {}
    for number, group in enumerate(groups, 1):
        say(f"layer by layer: {number / len(groups):.0%}, {group}")
        table[group] = measure(scales.only(group))
    worst = sorted(groups, key=lambda group: -table[group].error)
    left: list[str] = []
    now = measure(scales)
    while not now.good:
        left.append(worst[len(left)])
        if len(left) == len(groups):
            raise EngineError(
                f"every layer suffers from INT8 (the best alone: error {table[left[-1]].error:.3g}): calibrate on more "
                "or other text, or build with a float precision"
            )
        now = measure(scales.without(*left))
        say(f"{len(left)} layers in float: error {now.error:.3g}")
    rows = [{"layer": group, **_figures(table[group]), "float": group in left} for group in groups]
    about = {**scales.about, "sensitivity": rows, "float": left, "deviation": _figures(now)}
    return replace(scales.without(*left), about=about)


def _figures(one: Deviation) -> dict[str, float]:
    named = {"error": one.error, "cosine_p1": one.cosine_p1, "cosine_mean": one.cosine_mean}
    return {name: round(value, 6) for name, value in named.items() if value is not None}
