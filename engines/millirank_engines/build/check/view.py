"""An ONNX graph seen from its tensors: who makes each, who reads it, and what its value depends on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError

if TYPE_CHECKING:
    import onnx

FLOATS = frozenset({1, 10, 11, 16})  # TensorProto's FLOAT, FLOAT16, DOUBLE, BFLOAT16


class Depends(IntEnum):
    """What the value of a tensor is a function of, the widest last."""

    constants = 0
    shapes = 1  # the inputs' sizes, which a bucket fixes
    data = 2  # the inputs' values


@dataclass(frozen=True)
class Node:
    """One operation."""

    kind: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    depth: int  # 0 in the graph itself, 1 and more in the bodies of If, Loop and Scan

    def __hash__(self) -> int:
        return hash((self.name, self.outputs))


def load_onnx(path: Path) -> "onnx.ModelProto":
    """The model of a file, with the weights that lie beside it.

    Raises:
        EngineError: if it cannot be read or is no ONNX.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors have no common class
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise EngineError(f"{path} is no ONNX model ({first}): export it again") from error
    if not model.graph.node:
        raise EngineError(f"{path} is no ONNX model (it has no nodes): export it again")
    return model


class GraphView:
    """A read-only view of a model; constants are the graph's initializers and its Constant nodes."""

    def __init__(self, model: "onnx.ModelProto") -> None:
        from onnx import shape_inference

        self.model = model
        self.opset = max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=0)
        inferred = shape_inference.infer_shapes(model)
        graph = inferred.graph
        self.all_nodes = list(_nodes(graph, 0))  # with those of nested graphs
        self.nodes = [n for n in self.all_nodes if n.depth == 0]
        self.functions = {f.name for f in model.functions}
        self._initializers = {t.name: t for t in graph.initializer}
        known = [*graph.value_info, *graph.input, *graph.output]
        self.types = {v.name: v.type.tensor_type.elem_type for v in known}
        self.types |= {name: t.data_type for name, t in self._initializers.items()}
        self._shapes = {v.name: _shape(v) for v in known} | {n: tuple(t.dims) for n, t in self._initializers.items()}
        self.inputs = [v.name for v in graph.input if v.name not in self._initializers]
        self.outputs = [v.name for v in graph.output]
        self.producer = {out: node for node in self.nodes for out in node.outputs if out}
        self.consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self.consumers.setdefault(name, []).append(node)

    @cached_property
    def depends(self) -> Mapping[str, Depends]:
        """What each tensor of the graph depends on."""
        found = dict.fromkeys(self._initializers, Depends.constants) | dict.fromkeys(self.inputs, Depends.data)
        for node in self.nodes:  # in topological order, as ONNX demands
            if node.kind in {"Shape", "Size"}:
                widest = Depends.shapes
            elif node.kind.startswith(("Random", "Bernoulli", "Multinomial")):
                widest = Depends.data
            else:
                widest = max((found.get(name, Depends.data) for name in node.inputs if name), default=Depends.constants)
            found |= dict.fromkeys(node.outputs, widest)
        return found

    def dependence(self, name: str) -> Depends:
        """What one tensor depends on; data, if it is not known."""
        return self.depends.get(name, Depends.data)

    def initializers(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every initializer and every constant of a node, by name."""
        for name in self._initializers:
            if (value := self.constant(name)) is not None:
                yield name, value
        for node in self.nodes:
            if node.kind == "Constant" and (value := self.constant(node.outputs[0])) is not None:
                yield node.outputs[0], value

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant, or None if the tensor is none."""
        from onnx import numpy_helper

        if name in self._initializers:
            return np.asarray(numpy_helper.to_array(self._initializers[name]))
        node = self.producer.get(name)
        if node is None or node.kind != "Constant":
            return None
        value = next(iter(node.attributes.values()), None)
        return np.asarray(numpy_helper.to_array(value) if hasattr(value, "data_type") else value)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape of a tensor as far as inference tells it, None for what is dynamic or unknown."""
        return self._shapes.get(name)

    def is_activation(self, name: str) -> bool:
        """Whether a tensor is made of the inputs' values."""
        return name in self.depends and self.depends[name] == Depends.data

    def upstream(
        self, name: str, wanted: Callable[[Node], bool], through: frozenset[str], limit: int
    ) -> list[Node] | None:
        """The shortest way from a tensor back to a wanted node: that node last, before it those that were passed."""
        return _way([name], lambda n: [p for p in [self.producer.get(n)] if p], _inputs, wanted, through, limit)

    def downstream(
        self, name: str, wanted: Callable[[Node], bool], through: frozenset[str], limit: int
    ) -> list[Node] | None:
        """The shortest way from a tensor on to a wanted node."""
        return _way([name], lambda n: self.consumers.get(n, []), _outputs, wanted, through, limit)


def _way(
    start: list[str],
    step: Callable[[str], Sequence[Node]],
    beyond: Callable[[Node], Sequence[str]],
    wanted: Callable[[Node], bool],
    through: frozenset[str],
    limit: int,
) -> list[Node] | None:
    """Breadth first, over nodes of the kinds in through."""
    ways: list[tuple[str, list[Node]]] = [(name, []) for name in start]
    for _ in range(limit):
        longer = []
        for name, way in ways:
            for node in step(name):
                if wanted(node):
                    return [*way, node]
                if node.kind in through and node not in way:
                    longer += [(other, [*way, node]) for other in beyond(node)]
        ways = longer
    return None


def _inputs(node: Node) -> Sequence[str]:
    return node.inputs


def _outputs(node: Node) -> Sequence[str]:
    return node.outputs


def _nodes(graph: "onnx.GraphProto", depth: int) -> Iterator[Node]:
    from onnx import AttributeProto, helper

    for n in graph.node:
        name = n.name or f"{n.op_type}→{n.output[0] if n.output else '?'}"
        attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
        yield Node(n.op_type, name, n.domain, tuple(n.input), tuple(n.output), attributes, depth)
        for a in n.attribute:
            if a.type == AttributeProto.GRAPH:
                yield from _nodes(a.g, depth + 1)


def _shape(value: "onnx.ValueInfoProto") -> tuple[int | None, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
