"""How near a model's activations come to the end of FP16, on real text.

The FP32 graph runs in OpenVINO with every activation as an output. Texts of one length run together, so that nothing
is padded and no mask hides or raises a value.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineFailed

from .finding import Finding, Severity, places
from .view import FLOATS, GraphView

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedTokenizerBase

LIMIT = 65504.0  # the largest float16
HEADROOM = 4.0  # less than this is near: other texts are not those that were measured
ROWS = 16  # of one call
Encoded = Mapping[str, list[int]]  # one text, by the tokenizer's names


@dataclass(frozen=True)
class Peak:
    """The largest activation of a tensor."""

    tensor: str
    node: str
    value: float  # its absolute value; infinite for one that is not finite

    @property
    def headroom(self) -> float:
        """How many times larger it could be in FP16."""
        return LIMIT / self.value if self.value else float("inf")


def encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[tuple[str, str | None]], limit: int) -> list[Encoded]:
    """Texts, or pairs of texts, as a model of at most limit tokens reads them."""
    encoded: list[Encoded] = []
    for first, second in texts:
        ids = tokenizer(first, second, truncation="only_second" if second else True, max_length=limit)
        encoded.append({name: list(values) for name, values in ids.items()})
    return encoded


def peaks(model: "onnx.ModelProto", texts: Sequence[Encoded]) -> list[Peak]:
    """The largest absolute value of every activation over the texts, the largest first.

    Args:
        model: in FP32, with inputs input_ids, attention_mask and perhaps token_type_ids.
        texts: what runs.

    Raises:
        EngineFailed: if OpenVINO cannot compile or run it.
    """
    import onnx
    import openvino as ov

    view = GraphView(model)
    made = {out: n for n in view.nodes for out in n.outputs if out}
    seen = [t for t in made if view.types.get(t) in FLOATS and view.is_activation(t) and t not in view.outputs]
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    open_model.graph.output.extend(onnx.helper.make_tensor_value_info(t, view.types[t], None) for t in seen)
    try:
        core = ov.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(open_model.SerializeToString()), "CPU", settings)
        largest: dict[str, float] = defaultdict(float)
        for feeds in _batches(view, texts):
            for port, value in compiled(feeds).items():
                highest = float(np.abs(value).max(initial=0.0))
                for name in port.get_names() & made.keys():
                    largest[name] = max(largest[name], highest if np.isfinite(highest) else float("inf"))
    except RuntimeError as error:
        raise EngineFailed(f"OpenVINO cannot run it: {str(error).splitlines()[0]}") from error
    found = [Peak(name, made[name].name, value) for name, value in largest.items()]
    return sorted(found, key=lambda peak: -peak.value)


def _batches(view: GraphView, texts: Sequence[Encoded]) -> Iterator[dict[str, NDArray[Any]]]:
    import onnx

    lengths: dict[int, list[Encoded]] = defaultdict(list)
    for text in texts:
        lengths[len(text["input_ids"])].append(text)
    for length, same in sorted(lengths.items()):
        for begin in range(0, len(same), ROWS):
            rows = same[begin : begin + ROWS]
            yield {
                name: np.array(
                    [row.get(name, [name == "attention_mask"] * length) for row in rows],
                    onnx.helper.tensor_dtype_to_np_dtype(view.types[name]),
                )
                for name in view.inputs
            }


def overflow(found: Sequence[Peak]) -> Iterator[Finding]:
    """Activations that FP16 cannot hold, or hardly."""
    over = [p for p in found if p.headroom < 1]
    near = [p for p in found if 1 <= p.headroom < HEADROOM]
    fix = "keep these layers in FP32, build with bf16, or train with weight decay and without outlier channels"
    for severity, hit, how in ((Severity.blocks, over, "beyond"), (Severity.risks, near, "near")):
        if hit:
            worst = hit[0]
            what = (
                f"|activation| reaches {worst.value:,.0f} on real text, {how} FP16's {LIMIT:,.0f} "
                f"({worst.value / LIMIT:.2f} of it, at {worst.node})"
            )
            yield Finding(severity, places(dict.fromkeys(p.node for p in hit)), what, fix)


def constants(view: GraphView) -> Iterator[Finding]:
    """Weights and constants that FP16 cannot hold: masks of -3.4e38 among them."""
    scalars: list[str] = []
    weights: list[str] = []
    for name, value in view.initializers():
        if value.dtype.kind == "f" and value.size and np.abs(value).max() > LIMIT:
            (scalars if value.size == 1 else weights).append(name)
    if scalars:
        what = "a constant beyond FP16 becomes infinite: as a mask, a row that is masked as a whole gives NaN"
        yield Finding(Severity.risks, places(scalars), what, "mask with -30000: its exponential is 0 all the same")
    if weights:
        what = f"weights beyond FP16's {LIMIT:,.0f}"
        yield Finding(Severity.blocks, places(weights), what, "build with fp32, or rescale them")
