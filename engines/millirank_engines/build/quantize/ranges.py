"""How wide the inputs of linear layers are: histograms gathered with ONNX Runtime, and four ways to cut them.

The histograms and two of the ways, percentile and entropy, are onnxruntime.quantization's; max is their largest edge,
and MSE (which ONNX Runtime has not) tries every cut of a histogram. One pass over the data serves all four.
"""

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import BackendUnavailable, EngineError
from millirank_engines.build.progress import Progress
from millirank_engines.device import cores

from .data import CalibrationData
from .scales import group_of

Method = Literal["max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.999
BINS, LEVELS = 2048, 128  # of a histogram's first batch; steps of a magnitude in 8 bits
COARSE = 384  # bins that entropy looks at: its search is quadratic
SAVED = 8  # batches from one save to the next
CUTS = 160  # that MSE tries


@dataclass(frozen=True)
class Histogram:
    """How often the magnitudes of a tensor fell between edges."""

    counts: NDArray[np.int64]  # (bins,)
    edges: NDArray[np.float32]  # (bins + 1,), evenly spaced from 0

    @property
    def largest(self) -> float:
        """The end of the last bin that is not empty."""
        filled = np.flatnonzero(self.counts)
        return float(self.edges[filled[-1] + 1]) if len(filled) else 0.0


def tensors_of(onnx: Path) -> dict[str, str]:
    """The tensor that every group of linear layers reads, by group, in the order of the graph."""
    import onnx as onnx_library

    graph = onnx_library.load(str(onnx), load_external_data=False).graph
    found: dict[str, str] = {}
    for node in graph.node:
        name = node.name.removesuffix("/matmul")
        if node.op_type == "MatMul" and name != node.name and name.startswith("encoder."):
            found[group_of(name)] = node.input[0]  # the last: a reranker's last query reads fewer rows than its values
    return found


def histograms(onnx: Path, data: CalibrationData, work: Path, say: Progress) -> dict[str, Histogram]:
    """Histograms of what every group reads, by group; kept in work, so that what was stopped goes on where it was.

    Args:
        onnx: a float graph.
        data: one batch at a time is in memory with its activations.
        work: a folder of this graph and data alone; made if missing.
        say: told how far it is.

    Raises:
        BackendUnavailable: if onnxruntime is not installed.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    taps = tensors_of(onnx)
    collector = HistogramCollector("percentile", True, BINS, LEVELS, PERCENTILE, "same")  # noqa: FBT003 - no keyword there
    done = _resumed(work, collector)
    if done < len(data.batches):
        session = tapped(onnx, taps)
        for number, batch in enumerate(data.batches[done:], done + 1):
            values = session.run(list(taps.values()), dict(batch))
            collector.collect_absolute_value(dict(zip(taps, values, strict=True)))
            if number % SAVED == 0 or number == len(data.batches):
                _save(work, collector, number)
            say(f"calibrating: {number / len(data.batches):.0%}, batch {number} of {len(data.batches)}")
    return {group: Histogram(*collector.histogram_dict[group][:2]) for group in taps}


def tapped(onnx: Path, taps: Mapping[str, str]) -> Any:  # noqa: ANN401 - onnxruntime.InferenceSession
    """A session that gives some tensors out; it runs the graph as it is written.

    Raises:
        BackendUnavailable: if onnxruntime is not installed.
    """
    import onnx as onnx_library

    runtime = onnx_runtime()
    model = onnx_library.load(str(onnx))
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx_library.helper.make_tensor_value_info(name, onnx_library.TensorProto.FLOAT, None)
        for name in dict.fromkeys(taps.values())
        if name not in known
    )
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = cores()  # by default it takes those of the machine
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_runtime() -> Any:  # noqa: ANN401 - a module
    """ONNX Runtime.

    Raises:
        BackendUnavailable: if it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable("onnxruntime", "calibration runs in it: pip install 'millirank[quantize]'") from error
    return onnxruntime


def amax(histogram: Histogram, method: Method, percentile: float = PERCENTILE) -> float:
    """The magnitude that 127 is to stand for.

    Raises:
        EngineError: if there is no such method.
    """
    if method not in METHODS:
        raise EngineError(f"there is no calibration by {method}: use {', '.join(METHODS)}")
    if method == "max" or not histogram.largest:
        return histogram.largest or 1.0
    if method == "mse":
        return _least_error(histogram)
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector(method, method == "percentile", BINS, LEVELS, percentile, "same")
    counts, edges = (histogram.counts, histogram.edges) if method == "percentile" else _mirrored(histogram)
    collector.histogram_dict["x"] = (counts, edges, edges[0].astype(np.float32), edges[-1].astype(np.float32))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        low, high = collector.compute_collection_result()["x"][:2]
    return float(min(max(-low, high), histogram.largest))


def _mirrored(histogram: Histogram) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Both signs, in bins coarse enough for a search that is quadratic in them."""
    bins = max(1, -(-len(histogram.counts) // COARSE))
    padded = np.pad(histogram.counts, (0, -len(histogram.counts) % bins)).reshape(-1, bins).sum(axis=1)
    width = float(histogram.edges[1] - histogram.edges[0]) * bins
    edges = np.arange(len(padded) + 1) * width
    counts = np.concatenate([padded[::-1], padded[:1] * 0, padded])  # ONNX Runtime looks for a bin of 0 in the middle
    ends = np.concatenate([-edges[::-1] - width / 2, edges + width / 2]).astype(np.float32)
    return counts, ends


def _least_error(histogram: Histogram) -> float:
    """The cut with the least mean square of what rounding and clipping change."""
    middles = (histogram.edges[:-1] + histogram.edges[1:]).astype(np.float64) / 2
    best, least = histogram.largest, np.inf
    for cut in np.linspace(0.1, 1.0, CUTS) * histogram.largest:
        step = cut / (LEVELS - 1)
        kept = np.clip(np.rint(middles / step), 0, LEVELS - 1) * step
        error = float((histogram.counts * (middles - kept) ** 2).sum())
        if error < least:
            best, least = float(cut), error
    return best


def _resumed(work: Path, collector: Any) -> int:  # noqa: ANN401 - of onnxruntime, which has no types
    """Fills the collector with what was saved; how many batches that is."""
    found = {}
    try:
        with (work / "histograms.npz").open("rb") as file, np.load(file) as saved:  # given a path, it leaks the file
            done = int(saved["done"])
            for group in json.loads(str(saved["groups"])):
                counts, edges, low, high = (saved[f"{group}/{part}"] for part in ("counts", "edges", "low", "high"))
                found[group] = (counts, edges, low[()], high[()])
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error):  # as if there were nothing
        return 0
    collector.histogram_dict.update(found)
    return done


def _save(work: Path, collector: Any, done: int) -> None:  # noqa: ANN401 - as above
    kept: dict[str, Any] = {"done": np.array(done), "groups": np.array(json.dumps(list(collector.histogram_dict)))}
    for group, (counts, edges, low, high) in collector.histogram_dict.items():
        kept |= {f"{group}/counts": counts, f"{group}/edges": edges, f"{group}/low": low, f"{group}/high": high}
    work.mkdir(parents=True, exist_ok=True)
    part = work / "histograms.part.npz"
    np.savez_compressed(part, **kept)
    part.replace(work / "histograms.npz")
