"""NVIDIA ModelOpt's quantization of an ONNX graph, in an environment of its own: it requires PyTorch.

PYTHON modelopt_ptq.py model.onnx batches.npz max|entropy quantized.onnx [products]

    python -m venv modelopt && modelopt/bin/pip install 'nvidia-modelopt[onnx]' onnxruntime

The extra asks for onnxruntime-gpu and cupy; without a GPU, `pip install --no-deps nvidia-modelopt` with the CPU's
onnxruntime and torch does (0.47 was tried).
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

Batch = dict[str, Any]  # inputs by name


def batches_of(path: Path) -> list[Batch]:
    """What save_batches wrote."""
    with np.load(path) as saved:
        found: dict[int, Batch] = {}
        for key in saved.files:
            number, _, name = key.partition("/")
            found.setdefault(int(number), {})[name] = saved[key]
    return [found[number] for number in sorted(found)]


def save_batches(path: Path, batches: "tuple[Any, ...]") -> None:
    """Writes batches of inputs, in their order."""
    np.savez(path, **{f"{i}/{name}": value for i, batch in enumerate(batches) for name, value in batch.items()})


def main() -> None:
    """Quantizes to INT8, what is not INT8 stays FP32; with products, of linear layers alone."""
    from modelopt.onnx.quantization import quantize
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    source, data, method, out, *products = sys.argv[1:]
    batches = batches_of(Path(data))

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._left: Iterator[Batch] = iter(batches)

        def get_next(self) -> Batch | None:
            return next(self._left, None)

        def get_first(self) -> Batch:  # ModelOpt asks for it
            return batches[0]

        def rewind(self) -> None:
            self._left = iter(batches)

    quantize(
        source,
        "int8",
        calibration_data_reader=Reader(),
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=out,
        log_level="ERROR",
        **({"op_types_to_quantize": ["MatMul"], "disable_mha_qdq": True} if products else {}),
    )


if __name__ == "__main__":
    main()
