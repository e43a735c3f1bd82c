"""The ONNX graph of a BERT-family network, written node by node from its weights, without torch.

The forms are those that OpenVINO and TensorRT fuse: attention as MatMul, mask, Softmax, MatMul with its scale folded
into the query weights; GELU by Erf; LayerNormalization as one node. Query, key and value are three products: joined,
they were no faster in OpenVINO (10x32, 50x32), and TensorRT joins them itself; a Form joins them all the same. The last
layer computes only the rows that its head reads: under CLS pooling and in rerankers the first token alone, 13 % less
time in six layers.

TensorRT's attention wants rows token by token, (length, batch, hidden), and turns them itself, once where all is
float16, but in front of and behind every attention where Q/DQ nodes lie between: a Form is time-major from the start.

Precision lies in the types (TensorRT 11 knows no other way): in FP16 every weight and activation is float16, except
where range or resolution would suffer: LayerNormalization, the pooled sum, its norm, a classifier's last dot product.
What differs by the runtime that reads the graph is a Form.
"""

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from millirank_engines.base import EngineError

from .dense import PARTS, Dense, Weights
from .nodes import Graph, Precision
from .quantize.scales import Scales

Head = Literal["mean", "cls", "bert", "roberta"]  # mean and cls pool into an embedding, the others classify

OPSET, IR_VERSION = 17, 8  # the first with LayerNormalization; TensorRT 10 reads both
QUANTIZED = 19, 9  # the first whose QuantizeLinear takes float16
MASKED = -3e4  # added to the scores of padded keys: within float16, and its exponential is 0
CLASSIFIERS = {"bert": ("pooler.dense", "classifier"), "roberta": ("classifier.dense", "classifier.out_proj")}
TABLES = ("word", "position", "token_type")
PLAIN = "plain"  # the form that has nothing
MAX_BYTES = (1 << 31) - (1 << 20)  # of weights: protobuf ends at 2 GiB, the nodes need the rest


@dataclass(frozen=True)
class Network:
    """What the graph of a network depends on, besides its weights."""

    layers: int
    heads: int
    hidden: int  # width of the residual stream
    activation: str  # gelu, gelu_new, gelu_pytorch_tanh or relu
    epsilon: float  # of LayerNormalization
    first_position: int  # row of the position table for the first token: 0 in BERT, pad_token_id + 1 in RoBERTa
    max_length: int  # tokens, special ones included; rows of the position table beyond are left out
    type_ids: bool  # whether token_type_ids is an input; if not, every token is of type 0
    head: Head


@dataclass(frozen=True)
class Form:
    """What may differ by the runtime that the graph is for; what it computes is the same but for rounding."""

    half_norm: bool = False  # FP16: LayerNormalization takes and gives float16; its mean and variance stay float32
    joined_qkv: bool = False  # query, key and value are one product, where they read the same rows
    time_major: bool = False  # rows lie token by token, (length, batch, hidden), instead of text by text
    tanh_gelu: bool = False  # FP16: GELU by its tanh approximation, which changes less than FP16's rounding does
    rounded_weights: bool = False  # INT8 weights as the floats that they stand for: products are exact everywhere

    @classmethod
    def parse(cls, text: str) -> "Form":
        """A form from the names of what it has, such as half-norm,joined-qkv; PLAIN has nothing.

        Raises:
            EngineError: if a name is unknown.
        """
        asked = {name.strip().replace("-", "_") for name in text.split(",") if name.strip() and text != PLAIN}
        if unknown := asked - cls.__dataclass_fields__.keys():
            known = ", ".join(name.replace("_", "-") for name in cls.__dataclass_fields__)
            raise EngineError(f"the graph has no form {', '.join(sorted(unknown))}: use {known}")
        return cls(**dict.fromkeys(asked, True))

    def __str__(self) -> str:
        return ",".join(name.replace("_", "-") for name, chosen in asdict(self).items() if chosen)


class _Builder(Dense):
    """Turns a network's weights into nodes; one instance builds one graph."""

    def __init__(
        self, network: Network, weights: Weights, precision: Precision, form: Form, scales: Scales | None
    ) -> None:
        super().__init__(Graph(precision, rounded=form.rounded_weights), weights, scales)
        self.network, self.form = network, form
        self.token = 0 if form.time_major else 1  # which of the rows' first two axes; the other one is the text

    def ordered(self, name: str) -> str:
        """An input, (batch, length), in the order of the rows."""
        return self.graph.op("Transpose", f"{name}/turned", name, perm=[1, 0]) if self.form.time_major else name

    def normalized(self, x: str, name: str) -> str:
        graph, wide, epsilon = self.graph, not self.form.half_norm, self.network.epsilon
        affine = [graph.weight(key, self.weights[key], wide=wide) for key in (f"{name}.weight", f"{name}.bias")]
        x = graph.widen(x) if wide else x
        x = graph.op("LayerNormalization", f"{name}/norm", x, *affine, axis=-1, epsilon=epsilon, stash_type=1)
        return graph.narrow(x) if wide else x

    def activated(self, x: str, name: str) -> str:
        """Relu, or GELU exactly (Erf) or by its tanh approximation (Hendrycks and Gimpel, 2016)."""
        graph, op = self.graph, self.graph.op
        if self.network.activation == "relu":
            return op("Relu", f"{name}/relu", x)
        if self.network.activation == "gelu" and not (self.form.tanh_gelu and graph.half):
            gate = op("Erf", f"{name}/erf", op("Div", f"{name}/scaled", x, graph.scalar(math.sqrt(2))))
        else:
            cube = op("Pow", f"{name}/cube", x, graph.scalar(3.0))
            inner = op("Add", f"{name}/inner", x, op("Mul", f"{name}/cubic", cube, graph.scalar(0.044715)))
            scaled = op("Mul", f"{name}/scaled", inner, graph.scalar(math.sqrt(2 / math.pi)))
            gate = op("Tanh", f"{name}/tanh", scaled)
        gated = op("Mul", f"{name}/gated", x, op("Add", f"{name}/gate", gate, graph.scalar(1.0)))
        return op("Mul", f"{name}/gelu", gated, graph.scalar(0.5))

    def embeddings(self) -> str:
        """Word, position and type embeddings, summed and normalised.

        Input is padded on the right only, so the i-th token takes row first_position + i of the position table:
        RoBERTa's rule (pad_token_id + 1 + i for valid tokens) becomes a slice of it, as BERT's is.
        """
        graph, op, network = self.graph, self.graph.op, self.network
        first, end = network.first_position, network.first_position + network.max_length
        words, positions, types = (self.weights[f"embeddings.{kind}_embeddings.weight"] for kind in TABLES)
        positions = positions[first:end] if network.type_ids else positions[first:end] + types[0]
        positions = positions[:, None] if self.form.time_major else positions
        table = graph.weight("embeddings.position_embeddings.weight", positions)
        length = op(
            "Slice", "embeddings/length", op("Shape", "embeddings/shape", "input_ids"), *map(graph.integers, (1, 2, 0))
        )
        rows = op("Slice", "embeddings/positions", table, graph.integers(0), length, graph.integers(0))
        table = graph.weight("embeddings.word_embeddings.weight", words)
        word = op("Gather", "embeddings/words", table, self.ordered("input_ids"))
        x = op("Add", "embeddings/placed", word, rows)
        if network.type_ids:
            table = graph.weight("embeddings.token_type_embeddings.weight", types)
            kinds = op("Gather", "embeddings/types", table, self.ordered("token_type_ids"))
            x = op("Add", "embeddings/typed", x, kinds)
        return self.normalized(x, "embeddings.LayerNorm")

    def mask(self) -> str:
        """0 for a valid key and MASKED for a padded one, (batch, 1, 1, length)."""
        graph, op = self.graph, self.graph.op
        valid = graph.cast("mask/valid", "attention_mask")
        padded = op("Sub", "mask/padded", graph.scalar(1.0), valid)
        return op("Unsqueeze", "mask/keys", op("Mul", "mask/added", padded, graph.scalar(MASKED)), graph.integers(1, 2))

    def projections(self, queries: str, x: str, name: str) -> tuple[str, ...]:
        """Query, scaled by the root of a head's width, key and value, each in the order of the rows."""
        hidden = self.network.hidden
        scales = (1 / math.sqrt(hidden // self.network.heads), 1.0, 1.0)
        if not self.form.joined_qkv:
            rows = (queries, x, x)
            return tuple(self.dense(r, f"{name}.{p}", s) for r, p, s in zip(rows, PARTS, scales, strict=True))
        apart = () if queries == x else PARTS[:1]  # the last layer of some heads asks for the first token alone
        joined = self.joined(x, name, {p: s for p, s in zip(PARTS, scales, strict=True) if p not in apart})
        return (*(self.dense(queries, f"{name}.{p}", scales[0]) for p in apart), *joined)

    def attention(self, queries: str, x: str, mask: str, name: str) -> str:
        """Multi-head attention of the rows of queries over those of x; both in three axes, the last of them hidden."""
        graph, op, heads = self.graph, self.graph.op, self.network.heads
        width = self.network.hidden // heads
        split = graph.integers(0, 0, heads, width)

        def headed(rows: str, part: str, order: list[int]) -> str:
            return op("Transpose", f"{name}/{part}", op("Reshape", f"{name}/{part}/split", rows, split), perm=order)

        rows = self.projections(queries, x, f"{name}.self")
        token, text = self.token, 1 - self.token
        orders = ([text, 2, token, 3], [text, 2, 3, token], [text, 2, token, 3])
        query, key, value = (headed(r, part, order) for r, part, order in zip(rows, PARTS, orders, strict=True))
        scores = op("Add", f"{name}/masked", op("MatMul", f"{name}/scores", query, key), mask)
        context = op("MatMul", f"{name}/context", op("Softmax", f"{name}/softmax", scores, axis=-1), value)
        turned = op("Transpose", f"{name}/rows", context, perm=np.argsort(orders[0]).tolist())
        joined = op("Reshape", f"{name}/joined", turned, graph.integers(0, 0, self.network.hidden))
        return self.dense(joined, f"{name}.output.dense")

    def layer(self, x: str, mask: str, name: str, *, first_only: bool) -> str:
        """One encoder layer; first_only computes the first token's rows alone."""
        op = self.graph.op
        rows = op("Slice", f"{name}/first", x, *map(self.graph.integers, (0, 1, self.token))) if first_only else x
        attended = op("Add", f"{name}/attended", self.attention(rows, x, mask, f"{name}.attention"), rows)
        rows = self.normalized(attended, f"{name}.attention.output.LayerNorm")
        inner = self.activated(self.dense(rows, f"{name}.intermediate.dense"), f"{name}.intermediate")
        transformed = op("Add", f"{name}/transformed", self.dense(inner, f"{name}.output.dense"), rows)
        return self.normalized(transformed, f"{name}.output.LayerNorm")

    def embedding(self, x: str) -> str:
        """The pooled rows at unit length. The mean's division by the number of tokens cancels in the norm."""
        graph, op, x = self.graph, self.graph.op, self.graph.widen(x)
        if self.network.head == "mean":
            valid = graph.cast("pooling/valid", self.ordered("attention_mask"), wide=True)
            x = op("Mul", "pooling/tokens", x, op("Unsqueeze", "pooling/rows", valid, graph.integers(2)))
        pooled = op("ReduceSum", "pooling/sum", x, graph.integers(self.token), keepdims=0)
        floor = graph.constant("pooling/floor", np.array(1e-12, np.float32))
        norm = op("Max", "pooling/norm", self.length(pooled), floor)
        return op("Div", "embedding", pooled, norm)

    def length(self, pooled: str) -> str:
        """Of vectors, (batch, 1); ReduceL2 takes its axes in another way from opset 18 on."""
        if self.scales.amax:
            return self.graph.op("ReduceL2", "pooling/l2", pooled, self.graph.integers(1), keepdims=1)
        return self.graph.op("ReduceL2", "pooling/l2", pooled, axes=[1], keepdims=1)

    def score(self, x: str) -> str:
        """One logit a row; no sigmoid, which would change no order."""
        graph, op = self.graph, self.graph.op
        inner, outer = CLASSIFIERS[self.network.head]
        pooled = graph.widen(op("Tanh", "pooler/tanh", self.dense(x, inner)))
        return op("Reshape", "score", self.dense(pooled, outer, wide=True), graph.integers(-1))


def onnx_from_weights(
    network: Network, weights: Weights, precision: Precision, form: Form, scales: Scales | None = None
) -> bytes:
    """The network as a serialized ONNX model; the same weights give the same bytes.

    With scales, the linear layers that they name are INT8 products between Q/DQ nodes, and all else is in precision.

    Inputs are int32, (batch, length), both dynamic, padded on the right: input_ids, attention_mask with at least one
    valid token in every row and, where network.type_ids says so, token_type_ids. The output is float32: embedding
    (batch, hidden) at unit length, or score (batch,).

    Raises:
        OverflowError: if a weight is too large for float16, or the model for ONNX; the message names which.
    """
    from onnx import TensorProto, helper

    opset, version = QUANTIZED if scales and scales.amax else (OPSET, IR_VERSION)
    builder = _Builder(network, weights, precision, form, scales)
    x, mask = builder.embeddings(), builder.mask()
    for i in range(network.layers):
        first_only = i == network.layers - 1 and network.head != "mean"
        x = builder.layer(x, mask, f"encoder.layer.{i}", first_only=first_only)
    pools = network.head in {"mean", "cls"}
    output = builder.embedding(x) if pools else builder.score(x)
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * network.type_ids
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in names]
    shape = ["batch", network.hidden] if pools else ["batch"]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    values = list(builder.graph.initializers.values())
    if sum(len(tensor.raw_data) for tensor in values) > MAX_BYTES:
        fix = "use --precision fp16" if precision == "fp32" else "choose a smaller model"
        raise OverflowError(f"its weights take more than the 2 GiB that an ONNX file holds: {fix}")
    model = helper.make_model(
        helper.make_graph(builder.graph.nodes, "millirank", inputs, outputs, values),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=version,
        producer_name="millirank",
    )
    return bytes(model.SerializeToString(deterministic=True))
