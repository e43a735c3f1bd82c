"""Attention and normalization as TensorRT fuses them, and what keeps a graph's own from it.

What the fused attention of TensorRT wants (its documentation, Working with Transformers, Fused Attention): two batched
products with a Softmax over the last axis between them, a mask that is added or selects, and the scale on the query or
the key before the first product. What else stands between the products, or reads what they would keep on the chip,
makes three kernels and a round through memory of one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .finding import Finding, Severity, places
from .view import GraphView, Node

POINTWISE = frozenset(["Add", "Sub", "Mul", "Div", "Where", "Cast", "Identity", "Clip", "Min", "Max", "Dropout"])
SELECTS = frozenset(["Gather", "GatherElements", "GatherND", "Slice", "Split", "Trilu"])
SPARSE = SELECTS | {"Scatter", "ScatterElements", "ScatterND", "Concat", "Pad"}
MOVES = frozenset(["Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand"])
BETWEEN = POINTWISE | SPARSE | MOVES
FAR = 12  # nodes between a product and its Softmax, at most
PRODUCTS = {"MatMul", "Einsum"}
SPARSE_FIX = "attend densely: below some thousand tokens it is faster than sparse attention, and it fuses"


@dataclass(frozen=True)
class Attention:
    """One attention block: its products and its Softmax."""

    scores: Node  # query by key
    softmax: Node
    context: Node  # probabilities by value
    before: tuple[Node, ...]  # between scores and softmax
    after: tuple[Node, ...]  # between softmax and context


def attentions(view: GraphView) -> list[Attention]:
    """The attention blocks of a graph."""

    def product(node: Node) -> bool:
        return node.kind in PRODUCTS and all(view.is_activation(name) for name in node.inputs)

    found = []
    for softmax in (n for n in view.nodes if n.kind == "Softmax"):
        back = view.upstream(softmax.inputs[0], product, BETWEEN, FAR)
        on = view.downstream(softmax.outputs[0], product, BETWEEN, FAR)
        if back and on:
            found.append(Attention(back[-1], softmax, on[-1], tuple(reversed(back[:-1])), tuple(on[:-1])))
    return found


def attention(view: GraphView) -> Iterator[Finding]:
    """Attention that will not fuse into one kernel, with the nodes that keep it from it."""
    problems: dict[tuple[str, str], list[Node]] = {}
    for block in attentions(view):
        for problem, nodes in _problems(view, block):
            problems.setdefault(problem, []).extend(nodes)
    for exp in (n for n in view.nodes if n.kind == "Exp"):
        total = view.downstream(exp.outputs[0], lambda n: n.kind == "ReduceSum", frozenset(), 1)
        divided = view.downstream(exp.outputs[0], lambda n: n.kind == "Div", frozenset(), 1)
        if total and divided:
            problem = "Softmax in pieces (Exp, ReduceSum, Div)", "write it as one Softmax"
            problems.setdefault(problem, []).extend([exp, *total, *divided])
    for (what, fix), nodes in problems.items():
        yield Finding(Severity.slows, places(dict.fromkeys(n.name for n in nodes)), what, fix)


def _problems(view: GraphView, block: Attention) -> Iterator[tuple[tuple[str, str], list[Node]]]:
    """What and fix of everything that keeps a block from fusing, with the nodes."""
    inside = (*block.before, *block.after)
    kept = [block.scores, *block.before, block.softmax, *block.after]
    sparse = "sparse or windowed attention: the scores are cut and put together again", SPARSE_FIX
    moved = (
        "the scores change their shape between the products, so attention is three kernels",
        "keep the scores in (batch, heads, rows, columns) from product to product",
    )
    scaled = (
        "the scale stands after the product of query and key; TensorRT fuses it before",
        "scale the query before the product, or fold the scale into its weights",
    )
    leaving = (
        "scores or probabilities are read outside attention, so they go through memory",
        "return neither scores nor attention weights from the exported model",
    )
    found = {
        sparse: [n for n in inside if n.kind in SPARSE],
        moved: [n for n in inside if n.kind in MOVES],
        scaled: [n for n in block.before if _scales(view, n)],
        ("Softmax is not over the last axis", "transpose the scores, not the Softmax"): [block.softmax]
        * (not _last_axis(view, block.softmax)),
        ("Einsum hides a batched product, which fuses", "write it as MatMul"): [
            n for n in (block.scores, block.context) if n.kind == "Einsum"
        ],
        leaving: [n for n in kept if _leaves(view, n, {*kept, block.context})],
    }
    yield from ((problem, nodes) for problem, nodes in found.items() if nodes)


def _scales(view: GraphView, node: Node) -> bool:
    return node.kind in {"Mul", "Div"} and not all(view.is_activation(name) for name in node.inputs)


def _last_axis(view: GraphView, softmax: Node) -> bool:
    axis = softmax.attributes.get("axis", -1 if view.opset >= 13 else 1)  # noqa: PLR2004 - where its default changed
    shape = view.shape(softmax.inputs[0])
    return axis == -1 or (shape is not None and axis == len(shape) - 1) or (shape is None and axis == 3)  # noqa: PLR2004


def _leaves(view: GraphView, node: Node, block: set[Node]) -> bool:
    out = node.outputs[0]
    return out in view.outputs or any(reader not in block for reader in view.consumers.get(out, ()))


@dataclass(frozen=True)
class Norm:
    """One normalization: as one node, or in pieces."""

    x: str  # the tensor that it normalizes
    nodes: tuple[Node, ...]
    centred: bool  # LayerNorm; otherwise RMSNorm


def norms(view: GraphView) -> list[Norm]:
    """The normalizations over the hidden width: LayerNormalization nodes, and roots of a mean of squares."""
    whole = {"LayerNormalization": True, "SimplifiedLayerNormalization": False, "RMSNormalization": False}
    found = [Norm(n.inputs[0], (n,), whole[n.kind]) for n in view.nodes if n.kind in whole]
    for root in (n for n in view.nodes if n.kind == "Sqrt"):
        back = view.upstream(root.inputs[0], lambda n: n.kind == "ReduceMean", frozenset({"Add"}), 3)
        if back is None:
            continue
        square = view.producer.get(back[-1].inputs[0])
        if square is None or square.kind not in {"Pow", "Mul"}:
            continue
        centre = view.producer.get(square.inputs[0])
        nodes = (*reversed(back), root)
        if centre is not None and centre.kind == "Sub":
            mean = view.producer.get(centre.inputs[1])
            first = (mean,) if mean is not None and mean.kind == "ReduceMean" else ()
            found.append(Norm(centre.inputs[0], (*first, centre, square, *nodes), centred=True))
        else:
            found.append(Norm(square.inputs[0], (square, *nodes), centred=False))
    return found


def normalization(view: GraphView) -> Iterator[Finding]:
    """Normalization in pieces, or over another axis than the last."""
    for centred, kind in ((True, "LayerNorm"), (False, "RMSNorm")):
        pieces = [n for n in norms(view) if len(n.nodes) > 1 and n.centred is centred]
        if pieces:
            spelt = " ".join(dict.fromkeys(node.kind for node in pieces[0].nodes))
            what = f"{kind} in pieces ({spelt}): it may fuse only in part, and in FP16 its squares overflow from 256 on"
            fix = "export at opset 17, which has LayerNormalization as one node" if centred else "compute it in FP32"
            yield Finding(Severity.slows, places(n.nodes[0].name for n in pieces), what, fix)
    other = []
    for norm in norms(view):
        shape, axis = view.shape(norm.x), norm.nodes[0].attributes.get("axis", -1)
        if len(norm.nodes) == 1 and axis != -1 and (shape is None or axis != len(shape) - 1):
            other.append(norm.nodes[0].name)
    if other:
        what = "LayerNormalization over more than the last axis: another kernel, and padding would leak in"
        yield Finding(Severity.slows, places(other), what, "normalize over the hidden width alone")


def norm_order(view: GraphView) -> str:
    """Where normalization stands: pre-LN (the sum goes on beside it), post-LN (only what it gives goes on), or none."""
    found = norms(view)
    if not found:
        return "none"
    before = 0
    for norm in found:
        maker = view.producer.get(norm.x)
        x = maker.inputs[0] if maker is not None and maker.kind == "Cast" else norm.x
        readers = [n for n in view.consumers.get(x, ()) if n.kind == "Add"]
        before += any(all(view.is_activation(name) for name in n.inputs) for n in readers)
    return "pre-LN" if before * 2 > len(found) else "post-LN"
