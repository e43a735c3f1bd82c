"""What TensorRT made of a graph: its layers by the engine inspector, and the ONNX nodes that went into each.

The inspector's JSON of a plan built with ProfilingVerbosity.DETAILED is {"Layers": [{"Name", "LayerType", "Inputs":
[{"Name", "Dimensions", "Format/Datatype"}], "Outputs", "TacticName", "Metadata"}], …}; the metadata holds an
[ONNX Layer: NAME] for each node. TensorRT 11 splits the format from the "Datatype". With LAYER_NAMES_ONLY a layer is
its name alone, in which nodes are joined by " + " or are the two ends of {ForeignNode[FIRST...LAST]}.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from millirank_engines.artifact import PLAN, refuse_misfit
from millirank_engines.base import EngineError, Profile
from millirank_engines.cuda import Cuda, open_cuda
from millirank_engines.manifest import Manifest
from millirank_engines.trtmodule import trt_logger, trt_module

from .export import export_model
from .tensorrt import form_of

if TYPE_CHECKING:
    from .nodes import Precision

RUNS = 20  # of a bucket, whose mean is told
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_BREAKS = re.compile(r" \+ |\.\.\.|[{}()\[\],]|\x1e|\x1f")
_PROFILE = re.compile(r" \[profile \d+\]$")
# Words of a format or a datatype, and the precision that they mean; the first that fits.
_PRECISIONS = (
    (r"BF16|BFloat16", "BF16"),
    (r"FP16|Half", "FP16"),
    (r"FP8", "FP8"),
    (r"Int8|INT8", "INT8"),
    (r"Int64|INT64", "INT64"),
    (r"Int32|INT32", "INT32"),
    (r"Bool|BOOL", "BOOL"),
    (r"FP32|Float|FLOAT", "FP32"),
)
_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype", "Format/DataType")


@dataclass(frozen=True)
class Layer:
    """One layer of a plan: what runs as one step."""

    name: str
    kind: str  # TensorRT's, such as gemm, kgen or Reformat; empty where only names are known
    nodes: tuple[str, ...]  # of the ONNX graph
    precision: str  # of its inputs and outputs that are no indices: FP16, or FP32 → FP16
    tactic: str  # the kernel that was chosen
    milliseconds: float | None = None  # of one run


@dataclass(frozen=True)
class Fusion:
    """The layers of a plan against the nodes of the graph that it was made of."""

    layers: tuple[Layer, ...]
    nodes: tuple[str, ...]  # of the graph; empty if it is not known
    folded: tuple[str, ...]  # nodes that none of these layers names: constants, and what was merged without a trace

    @property
    def milliseconds(self) -> float | None:
        """All layers of one run, one after the other; None if they were not timed."""
        times = [layer.milliseconds for layer in self.layers if layer.milliseconds is not None]
        return sum(times) if times else None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def layers_from_json(text: str, nodes: Sequence[str] = (), ran: Collection[str] | None = None) -> tuple[Layer, ...]:
    """The layers that an engine inspector tells.

    Args:
        text: its JSON.
        nodes: names of the graph's nodes, by which layers without metadata are matched.
        ran: names of the layers that one profile ran; None means those of all profiles.

    Raises:
        EngineError: if the text is something else, or has none of the layers that ran.
    """
    try:
        entries = json.loads(text)["Layers"]
        names = [entry if isinstance(entry, str) else entry["Name"] for entry in entries]
        kept = [entry for entry, name in zip(entries, names, strict=True) if ran is None or name in ran]
        layers = tuple(_layer(entry, set(nodes)) for entry in kept)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"the engine inspector told something else than layers ({error!r} in {text[:80]!r}): build the plan anew, "
            "with detailed profiling verbosity, as `millirank engine build` does"
        ) from error
    if ran is not None and not layers:
        raise EngineError(
            f"TensorRT timed layers ({', '.join(ran) or 'none'}) that its inspector does not name ({names[:3]}): this "
            "version is not known here; look at the plan with trtexec --profilingVerbosity=detailed --dumpProfile"
        )
    return layers


def _layer(entry: str | Mapping[str, Any], known: set[str]) -> Layer:
    if isinstance(entry, str):
        return Layer(_PROFILE.sub("", entry), "", _by_name(entry, known), "", "")
    name = _PROFILE.sub("", str(entry["Name"]))
    named = tuple(dict.fromkeys(_NODE.findall(str(entry.get("Metadata", "")))))
    taken, given = (_precisions(entry.get(key) or ()) for key in ("Inputs", "Outputs"))
    precision = " → ".join(dict.fromkeys([p for p in (taken, given) if p]))
    return Layer(
        name,
        str(entry.get("LayerType", "")),
        named or _by_name(name, known),
        precision,
        str(entry.get("TacticName", "")),
    )


def _by_name(name: str, known: set[str]) -> tuple[str, ...]:
    """The nodes that a layer's name is made of."""
    parts = dict.fromkeys(part.strip() for part in _BREAKS.split(name))
    return tuple(part for part in parts if part in known)


def _precisions(tensors: Sequence[Mapping[str, Any]]) -> str:
    """The precisions of tensors, widest first as listed above; indices and masks only where there is nothing else."""
    found = []
    for tensor in tensors:
        written = next((str(tensor[key]) for key in _TYPE_KEYS if key in tensor), "")
        found.append(next((p for pattern, p in _PRECISIONS if re.search(pattern, written)), ""))
    distinct = [p for p in dict.fromkeys(found) if p]
    computed = [p for p in distinct if p not in {"INT32", "INT64", "BOOL"}]
    return "+".join(computed or distinct)


def fusion_of(layers: Sequence[Layer], nodes: Sequence[str], times: Mapping[str, float] | None = None) -> Fusion:
    """The layers against the nodes, with the time of each.

    Args:
        layers: of the plan.
        nodes: names of the graph's nodes.
        times: milliseconds of one run, by layer; its names may end in [profile N].
    """
    clean: dict[str, float] = {}
    for name, milliseconds in (times or {}).items():
        clean[_PROFILE.sub("", name)] = clean.get(_PROFILE.sub("", name), 0.0) + milliseconds
    timed = tuple(replace(layer, milliseconds=clean.get(layer.name)) for layer in layers) if clean else tuple(layers)
    named = {node for layer in layers for node in layer.nodes}
    return Fusion(timed, tuple(nodes), tuple(node for node in nodes if node not in named))


def nodes_of(manifest: Manifest, onnx: Path | None = None) -> list[tuple[str, str]]:
    """Name and operator of every node of the graph that an artifact was made of.

    Args:
        manifest: of the artifact.
        onnx: the graph; by default it is exported again from the model that the artifact was built from.

    Raises:
        EngineError: if that model is not here, or is another by now.
    """
    import onnx as onnx_library

    if onnx is not None:
        model = onnx_library.load(str(onnx), load_external_data=False)
    else:
        precision: Precision = "fp16" if manifest.precision == "fp16" else "fp32"
        with TemporaryDirectory() as folder:
            export = export_model(
                manifest.options.get("--model", manifest.name),
                Path(folder),
                task=manifest.model.task,
                precision=precision,
                template=manifest.model.template,
                form=form_of(manifest.options.get("--graph")),
            )
            if export.spec.hash != manifest.model.hash:
                raise EngineError(f"{manifest.name} has changed since it was built: give its graph with --onnx")
            model = onnx_library.load(str(Path(folder) / "model.onnx"))
    return [(node.name or node.output[0], node.op_type) for node in model.graph.node]


def inspect_plan(path: Path, manifest: Manifest, bucket: Profile, nodes: Sequence[str]) -> Fusion:
    """The layers that a bucket runs, timed on this machine's GPU.

    Args:
        path: the artifact's folder.
        manifest: of it.
        bucket: one of its profiles.
        nodes: names of the graph's nodes.

    Raises:
        BackendUnavailable: if TensorRT or cuda-python is not installed.
        ArtifactRefused: if the plan is for another GPU or version.
        EngineError: if there is no GPU, or the plan cannot be loaded or run.
    """
    trt, logger = trt_module(manifest.backend), trt_logger(manifest.backend)
    refuse_misfit(path, manifest)
    return timed_layers(path / PLAN, manifest, bucket, nodes, trt=trt, logger=logger, cuda=open_cuda())


def timed_layers(
    plan: Path,
    manifest: Manifest,
    bucket: Profile,
    nodes: Sequence[str],
    *,
    trt: Any,  # noqa: ANN401 - the module has no types
    logger: Any,  # noqa: ANN401 - as above
    cuda: Cuda,
) -> Fusion:
    """See inspect_plan; on the module, its logger and the device that it is handed."""
    from millirank_engines.tensorrt import TensorRtEngine

    times: dict[str, float] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[layer_name] = times.get(layer_name, 0.0) + ms

    engine = TensorRtEngine(
        plan, (bucket,), manifest.precision, trt=trt, logger=logger, cuda=cuda, backend=manifest.backend, graphs=False
    )
    try:
        profiler = Profiler()  # lives as long as the context that reports to it
        text = engine.inspected(bucket, profiler)
        ids = np.full((bucket.batch, bucket.length), manifest.model.pad_id, np.int32)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        engine.infer(feeds)
        times.clear()  # the first run with a profiler is slow
        for _ in range(RUNS):
            engine.infer(feeds)
    finally:
        engine.close()
    return fusion_of(layers_from_json(text, nodes, times), nodes, {name: ms / RUNS for name, ms in times.items()})
