"""What TensorRT's ONNX parser takes, and what makes an engine that no CUDA graph can hold."""

from collections.abc import Iterator

from .finding import Finding, Severity, places
from .view import Depends, GraphView, Node


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Sources: for 10.x builtin_op_static_checkers.cpp of onnx-tensorrt (github.com/onnx/onnx-tensorrt; operators without
# a checker that fails) with its changelog up to 10.6; for later ones what the parser of TensorRT-RTX 1.7.1 answers to
# supports_operator over every operator of ONNX 1.23.
PARSED = _words(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BlackmanWindow Cast
    CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
    DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements
    GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization
    HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear
    RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
    Resize ReverseSequence RoiAlign Round STFT Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign
    Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """
)
PARSED_LATER = _words(
    """
    Attention CausalConvWithState Gelu LinearAttention Mish RMSNormalization RotaryEmbedding Swish TensorScatter
    """
)
OPSETS = range(9, 23)  # of ONNX 1.17, which TensorRT 10.6 reads; 11 reads up to 25 (its ONNX Opset Guide)
SIZED_BY_DATA = {"NonZero": "the number of nonzero values", "NonMaxSuppression": "the number of boxes kept"}
SIZED_BY_DATA |= {"Unique": "the number of distinct values", "Compress": "the number of selected rows"}
# Inputs that say how large the output is.
SHAPE_INPUTS = {
    "Reshape": (1,),
    "Expand": (1,),
    "ConstantOfShape": (0,),
    "Range": (0, 1, 2),
    "Slice": (1, 2, 3, 4),
    "TopK": (1,),
    "Tile": (1,),
    "Pad": (1,),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "EyeLike": (),
    "CenterCropPad": (1,),
}
RESIZES = {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
ROUTES = frozenset(
    ["Equal", "OneHot", "ScatterElements", "ScatterND", "GatherElements", "GatherND", "Gather", "NonZero"]
)
CARRIES = _words("Cast Reshape Squeeze Unsqueeze Transpose Split Expand Slice Identity")
DOUBLE, STRING = 11, 8  # of TensorProto


def operators(view: GraphView) -> Iterator[Finding]:
    """Operators that the parser lacks, control flow, shapes that depend on data, and routing to experts."""
    yield from _unknown(view)
    yield from _control_flow(view)
    yield from _sized_by_data(view)
    yield from _routing(view)
    yield from _types(view)


def _named(nodes: list[Node]) -> str:
    return places(node.name for node in nodes)


def _unknown(view: GraphView) -> Iterator[Finding]:
    if view.opset not in OPSETS:
        what = f"opset {view.opset}, TensorRT 10.6 reads {OPSETS[0]} to {OPSETS[-1]}"
        yield Finding(Severity.blocks, "the model", what, "export it at opset 17")
    kinds: dict[tuple[str, str], list[Node]] = {}
    for node in view.all_nodes:
        kinds.setdefault((node.domain, node.kind), []).append(node)
    for (domain, kind), nodes in sorted(kinds.items()):
        if kind in view.functions:
            continue
        if domain not in {"", "ai.onnx"}:
            what = f"{domain}.{kind} is no standard operator: the parser looks for a plugin of that name"
            fix = "export without the optimizer that put it in, or bring the plugin"
        elif kind in PARSED_LATER:
            what = f"{kind} is parsed by TensorRT-RTX 1.7 and 11, not by TensorRT 10.6"
            fix = "export at opset 17, which spells it in older operators"
        elif kind not in PARSED:
            what, fix = f"{kind} is not parsed by any TensorRT", "export a form without it"
        else:
            continue
        yield Finding(Severity.blocks, _named(nodes), what, fix)


def _control_flow(view: GraphView) -> Iterator[Finding]:
    for kind in ("If", "Loop", "Scan"):
        nodes = [n for n in view.all_nodes if n.kind == kind]
        fixed = [
            n for n in nodes if kind == "If" and n.depth == 0 and view.dependence(n.inputs[0]) == Depends.constants
        ]
        if fixed:
            what, fix = "its condition is a constant", "fold constants: `polygraphy surgeon sanitize --fold-constants`"
            yield Finding(Severity.risks, _named(fixed), f"{kind}: {what}", fix)
        if left := [n for n in nodes if n not in fixed]:
            what = f"{kind} is decided while the engine runs, so no CUDA graph can hold it and nothing fuses across it"
            yield Finding(Severity.blocks, _named(left), what, "export by tracing one path; unroll loops")
    if nodes := [n for n in view.all_nodes if n.kind in {"GRU", "LSTM", "RNN"}]:
        what = "a recurrent layer takes one step a token: each waits for the one before it"
        yield Finding(Severity.slows, _named(nodes), what, "use attention or convolution in its place")


def _sized_by_data(view: GraphView) -> Iterator[Finding]:
    fix = "compute with a mask over a fixed shape instead of selecting"
    for kind, size in SIZED_BY_DATA.items():
        if nodes := [n for n in view.all_nodes if n.kind == kind]:
            what = f"{kind} has an output as long as {size}: the host must wait for it, so no CUDA graph can hold it"
            yield Finding(Severity.blocks, _named(nodes), what, fix)
    by_data: dict[str, list[Node]] = {}
    dynamic: list[Node] = []
    for node in view.nodes:
        shaping = [node.inputs[i] for i in SHAPE_INPUTS.get(node.kind, ()) if i < len(node.inputs) and node.inputs[i]]
        if any(view.dependence(name) == Depends.data for name in shaping):
            by_data.setdefault(node.kind, []).append(node)
        elif node.kind == "TopK" and view.dependence(node.inputs[1]) != Depends.constants:
            dynamic.append(node)
    for kind, nodes in by_data.items():
        what = f"{kind} takes its size from values (not from the inputs' sizes), so its shape is not known beforehand"
        yield Finding(Severity.blocks, _named(nodes), what, fix)
    if dynamic:
        what = "TopK with a k that follows the input's size: a bucket sorts as much as its padding has"
        yield Finding(Severity.slows, _named(dynamic), what, "make k a constant (at most 3840)")
    for node in view.nodes:
        mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
        if node.kind == "Resize" and mode not in RESIZES:
            what = f"Resize with {mode}, the parser takes {', '.join(sorted(RESIZES))}"
            yield Finding(Severity.blocks, node.name, what, "export with one of those modes")


def _routing(view: GraphView) -> Iterator[Finding]:
    chosen = [
        node
        for node in view.nodes
        if node.kind in {"TopK", "ArgMax"}
        and view.is_activation(node.inputs[0])
        and any(view.downstream(out, lambda n: n.kind in ROUTES, CARRIES, 5) for out in node.outputs)
    ]
    if chosen:
        what = (
            "tokens are routed by a choice made at run time (mixture of experts): every expert's weights are read, "
            "and gathers keep its products from fusing"
        )
        fix = "use a dense feed-forward layer, or run all experts and weigh their outputs"
        yield Finding(Severity.slows, _named(chosen), what, fix)


def _types(view: GraphView) -> Iterator[Finding]:
    if strings := [name for name in view.inputs if view.types.get(name) == STRING]:
        what = "an input of strings: TensorRT has no strings"
        yield Finding(Severity.blocks, places(strings), what, "tokenize outside the graph")
    if doubles := [name for name, kind in view.types.items() if kind == DOUBLE]:
        what = "float64, which the parser narrows to float32"
        yield Finding(Severity.risks, places(doubles), what, "export in float32, so that you test what runs")
