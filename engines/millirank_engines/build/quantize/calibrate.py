"""From data to scales: smoothing, histograms of what is left, and a cut through each."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from millirank_engines.artifact import digest, sha256_of
from millirank_engines.base import EngineError
from millirank_engines.build.export import export_model
from millirank_engines.build.progress import Progress
from millirank_engines.model import Task, Template

from . import ranges
from .data import CalibrationData
from .scales import WEIGHT_BITS, Scales
from .smoothing import inputs_of, smoothed, weights_of


@dataclass(frozen=True)
class Recipe:
    """How scales are made."""

    method: ranges.Method = "max"
    alpha: float | None = None  # of SmoothQuant: None lets each layer choose, 0 is none
    shift: bool = True  # whether a layer may move its channels to the middle of their ranges
    percentile: float = ranges.PERCENTILE  # of magnitudes; for the method of that name
    weight_bits: int = WEIGHT_BITS

    def __post_init__(self) -> None:
        """Refuses what no recipe can be.

        Raises:
            EngineError: if a value is out of its range.
        """
        if self.method not in ranges.METHODS:
            raise EngineError(f"there is no calibration by {self.method}: use {', '.join(ranges.METHODS)}")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise EngineError(f"alpha is {self.alpha}: choose 0 (no smoothing) to 1, or none to let each layer choose")
        if not 0 < self.percentile <= 100:  # noqa: PLR2004 - percent
            raise EngineError(f"the percentile is {self.percentile}: choose one above 0 and up to 100, such as 99.999")


class Calibrator:
    """Makes scales of one model from one set of data, with as many recipes as are asked for.

    Args:
        source: of the model, as export_model takes it.
        task: embed or rerank.
        data: what it is calibrated on.
        work: a folder for what is found on the way, by what it was found from: a run that was stopped goes on there.
        template: of texts; the model's own by default.
        progress: told how far it is.
    """

    def __init__(
        self,
        source: str,
        *,
        task: Task,
        data: CalibrationData,
        work: Path,
        template: Template | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._say: Progress = progress or (lambda _: None)
        self._source, self._task, self._template, self.data = source, task, template, data
        self.float = self._export(work / "float", Scales())
        self.spec = self.float.spec
        self._onnx = self.float.folder / "model.onnx"
        self.work = work / digest({"graph": sha256_of(self._onnx), "data": data.digest})[:16]
        self._inputs = inputs_of(self._onnx, data, self._say)
        self._weights = weights_of(self._onnx)

    def _export(self, out: Path, scales: Scales):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return export_model(self._source, out, task=self._task, template=self._template, scales=scales)

    def scales(self, recipe: Recipe) -> Scales:
        """The scales by a recipe; histograms are made once for all that differ in the cut alone.

        Raises:
            BackendUnavailable: if onnxruntime is not installed.
        """
        smooth = smoothed(self._inputs, self._weights, recipe.alpha, recipe.weight_bits, shift=recipe.shift)
        even = Scales(smoothing=smooth.vectors, shift=smooth.shifts, mean=self._inputs.means)
        both = (*sorted(even.smoothing.items()), *sorted(even.shift.items()))
        name = hashlib.sha256(b"".join(group.encode() + v.tobytes() for group, v in both))
        folder = self.work / name.hexdigest()[:16]
        onnx = self._onnx
        if both:
            onnx = self._export(folder / "float", even).folder / "model.onnx"
        found = ranges.histograms(onnx, self.data, folder, self._say)
        cuts = {group: ranges.amax(one, recipe.method, recipe.percentile) for group, one in found.items()}
        about = {
            "model": self.spec.hash,
            "name": self.spec.name,
            "inputs": self.float.inputs,
            "recipe": asdict(recipe),
            "alpha": smooth.alphas,
            "shifted": sorted(smooth.shifts),
            "data": {"origin": self.data.origin, "sequences": self.data.rows, "sha256": self.data.digest},
        }
        return replace(even, amax=cuts, weight_bits=recipe.weight_bits, about=about)
