"""ONNX into a TensorRT network: everything that its parser says no to, with node, operator and what to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millirank_engines.base import EngineError

# What to change, by the code of the parser's error; by a part of its text where that says more.
_BY_TEXT = (
    ("Plugin not found", "TensorRT has no such operator: export it as standard ONNX operators"),
    ("same input types", "networks are strongly typed: export both inputs in one type, or put a Cast before one"),
    ("Node input was not registered", "no node before it makes its input: check the file with onnx.checker"),
    ("Failed to parse the ONNX model", "the file is no ONNX or not whole: export it again"),
)
_BY_CODE = {
    "MODEL_DESERIALIZE_FAILED": "the file is no ONNX or not whole: export it again",
    "INVALID_GRAPH": "check the file with onnx.checker, and export it again",
    "INVALID_NODE": "check the shapes and types of its inputs, and export it again",
    "INVALID_VALUE": "check the values of its constants, and export it again",
    "UNSUPPORTED_GRAPH": "leave control flow and sequences out of the model",
    "UNSUPPORTED_NODE": "the parser does not cover this operator: compute it outside of the model, or with others",
    "UNSUPPORTED_NODE_ATTR": "the parser does not cover this attribute's value: export with another",
    "UNSUPPORTED_NODE_INPUT": "the parser wants this input as a constant or leaves it out: fold it when exporting",
    "UNSUPPORTED_NODE_DATATYPE": "cast its input to float32, float16 or int32",
    "UNSUPPORTED_NODE_DYNAMIC": "make this dimension a fixed one when exporting",
    "UNSUPPORTED_NODE_SHAPE": "export it with another shape: the parser does not cover this one",
}
_NOISE = "catchCudaError"  # what TensorRT adds on a machine without a GPU, whatever the error was


@dataclass(frozen=True)
class Problem:
    """One thing that the parser says no to."""

    number: int  # of the node in the graph; -1 if it is none
    node: str
    op: str
    code: str  # such as UNSUPPORTED_NODE
    said: str  # the parser's own words

    @property
    def fix(self) -> str:
        """What to change."""
        by_text = next((fix for part, fix in _BY_TEXT if part in self.said), None)
        return by_text or _BY_CODE.get(self.code, "export the model again, at opset 17")

    def __str__(self) -> str:
        where = f"node {self.number} {self.node} ({self.op})" if self.number >= 0 else "the file"
        return f"{where}: {self.fix} [{self.code}: {self.said}]"


class NetworkRefused(EngineError):
    """A model that TensorRT's parser does not take."""

    def __init__(self, onnx: Path, problems: Sequence[Problem]) -> None:
        many = f"{len(problems)} problems" if len(problems) > 1 else "one problem"
        super().__init__("\n  ".join([f"TensorRT cannot read {onnx}, {many}:", *map(str, problems)]))
        self.problems = tuple(problems)


def network_from_onnx(trt: Any, builder: Any, onnx: Path) -> tuple[Any, Any]:  # noqa: ANN401 - TensorRT's classes
    """A strongly typed network.

    Args:
        trt: the module.
        builder: its Builder.
        onnx: the model's file.

    Returns:
        The network, and the parser, which owns the weights and must live as long as it.

    Raises:
        NetworkRefused: with every error of the parser.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # TensorRT 11 knows nothing else
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, builder.logger)
    parsed = parser.parse_from_file(str(onnx))
    problems = [_problem(parser.get_error(i)) for i in range(parser.num_errors)]
    if parsed and not problems and not network.num_outputs:
        problems = [Problem(-1, "", "", "INVALID_GRAPH", "the graph has no output")]
    if not parsed or problems:
        raise NetworkRefused(onnx, problems or [Problem(-1, "", "", "INVALID_GRAPH", "the parser says no more")])
    return network, parser


def _problem(error: Any) -> Problem:  # noqa: ANN401 - a ParserError
    said = " ".join(line.strip() for line in error.desc().splitlines() if _NOISE not in line)
    return Problem(error.node(), error.node_name(), error.node_operator(), error.code().name, said)
