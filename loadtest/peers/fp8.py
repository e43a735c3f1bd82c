"""The graph of an INT8 engine with FP8 (E4M3) in the place of INT8: for GPUs that multiply it, from Hopper on."""

from pathlib import Path

import numpy as np

LARGEST = {"int8": 127.0, "fp8": 448.0}  # that a scale of 1 reaches
ZERO, WEIGHT = "zero/fp8", ".weight/int8"


def fp8_from_int8(source: Path, out: Path) -> Path:
    """Writes the graph; the ranges of activations stay, weights have one scale each, as TensorRT wants it for FP8.

    Weights stay in the types of the graph, behind a Q/DQ pair, which is the form that quantizers write: TensorRT folds
    it.

    Args:
        source: a Q/DQ graph of export_model with scales.
        out: the file to write.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    gone: set[str] = set()
    made = [helper.make_tensor(ZERO, TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True)]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            nodes.append(node)
            continue
        x, scale, zero = node.input
        gone.update((scale, zero))
        steps = numpy_helper.to_array(values[scale])
        if x.endswith(WEIGHT):
            gone.add(x)
            weight = numpy_helper.to_array(values[x]) * steps
            name = x.removesuffix("/int8")
            made.append(numpy_helper.from_array(weight.astype(steps.dtype), name))
            scale, steps = f"{name}/fp8/scale", np.abs(weight.astype(np.float32)).max() / LARGEST["fp8"]
            quantized = helper.make_node("QuantizeLinear", [name, scale, ZERO], [f"{name}/fp8"], f"{name}/fp8/q")
            nodes += [quantized, helper.make_node("DequantizeLinear", [f"{name}/fp8", scale, ZERO], node.output)]
            nodes[-1].name = node.name
        else:
            scale, steps = f"{scale}/fp8", steps * (LARGEST["int8"] / LARGEST["fp8"])
            nodes.append(helper.make_node(node.op_type, [x, scale, ZERO], node.output, node.name))
        kept = np.asarray(steps, numpy_helper.to_array(values[node.input[1]]).dtype)
        if all(tensor.name != scale for tensor in made):
            made.append(numpy_helper.from_array(kept, scale))
    kept_tensors = [tensor for tensor in graph.initializer if tensor.name not in gone]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept_tensors, *made])
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(out))
    return out
