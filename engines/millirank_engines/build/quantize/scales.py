"""What makes an INT8 graph of a float one: a range for the input of every linear layer, and how ranges are evened out.

Nothing here is secret or large: 25 numbers and, with smoothing, some vectors a layer. It is kept as safetensors.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError

WEIGHT_BITS = 8
FILE = "scales.safetensors"  # in an artifact
_FORMAT = "2"


def group_of(name: str) -> str:
    """The group that a linear layer of an encoder belongs to: query, key and value read the same rows, so are one."""
    head, _, part = name.rpartition(".")
    return head if part in {"query", "key", "value", "joined"} else name


@dataclass(frozen=True)
class Scales:
    """Per-tensor symmetric ranges of activations, by group; weights are INT8 per channel and need none.

    Groups are named as transformers names their layers: encoder.layer.0.attention.self (query, key and value),
    encoder.layer.0.attention.output.dense, encoder.layer.0.intermediate.dense, encoder.layer.0.output.dense.
    """

    amax: Mapping[str, float] = field(default_factory=dict)  # largest magnitude that 127 stands for; absent: float
    smoothing: Mapping[str, NDArray[np.float32]] = field(
        default_factory=dict
    )  # (inputs,), what channels are divided by
    shift: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # (inputs,), subtracted before that
    mean: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # (inputs,), of what each group reads
    weight_bits: int = WEIGHT_BITS  # 7 keeps pairs of products within the 16 bits that processors without VNNI add in
    about: Mapping[str, Any] = field(default_factory=dict)  # plain data: model, recipe, sensitivity, gate

    def without(self, *groups: str) -> "Scales":
        """The same with some groups left in float."""
        return replace(self, amax={group: value for group, value in self.amax.items() if group not in groups})

    def only(self, *groups: str) -> "Scales":
        """The same with all but some groups left in float."""
        return self.without(*(self.amax.keys() - set(groups)))

    def write(self, path: Path) -> None:
        """Writes them as safetensors; the same scales give the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, NDArray[Any]] = {f"amax/{g}": np.array(a, np.float32) for g, a in self.amax.items()}
        for kind, vectors in (("smoothing", self.smoothing), ("shift", self.shift), ("mean", self.mean)):
            tensors |= {f"{kind}/{g}": np.asarray(v, np.float32) for g, v in vectors.items()}
        about = json.dumps(dict(self.about), sort_keys=True, ensure_ascii=False)
        metadata = {"scales": json.dumps({"format": _FORMAT, "weight_bits": self.weight_bits, "about": about})}
        path.write_bytes(save(dict(sorted(tensors.items())), metadata))

    @classmethod
    def read(cls, path: Path) -> "Scales":
        """Reads what write wrote.

        Raises:
            EngineError: if the file is missing or something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                data = json.loads(file.metadata()["scales"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            if data["format"] != _FORMAT:
                raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")  # noqa: TRY301
            parts: dict[str, dict[str, Any]] = {kind: {} for kind in ("amax", "smoothing", "shift", "mean")}
            for name, value in tensors.items():
                kind, _, group = name.partition("/")
                parts[kind][group] = float(value) if kind == "amax" else value
            about = json.loads(data["about"])
            return cls(**parts, weight_bits=int(data["weight_bits"]), about=about)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"{path} holds no scales ({error}): name the {FILE} of an INT8 artifact, or what to calibrate on, with "
                "--calibration"
            ) from error
