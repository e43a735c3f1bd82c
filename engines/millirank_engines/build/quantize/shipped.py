"""Scales that come with this package, for the models that it runs by default: gated, so that nobody need calibrate."""

from pathlib import Path

from millirank_engines.base import EngineError
from millirank_engines.device import Device

from .scales import WEIGHT_BITS, Scales

FOLDER = Path(__file__).parents[2] / "models" / "int8"
_EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})  # add products of 8 bits in 32


def shipped_path(model: str, weight_bits: int) -> Path:
    """Where the scales of a model by its name are, if there are any."""
    return FOLDER / f"{model}-w{weight_bits}.safetensors"


def shipped_scales(model: str, weight_bits: int) -> Scales:
    """The scales that come with this package.

    Raises:
        EngineError: if there are none of that model.
    """
    path = shipped_path(model, weight_bits)
    if not path.is_file():
        known = sorted(found.name.rpartition("-")[0] for found in FOLDER.glob(f"*-w{weight_bits}.safetensors"))
        raise EngineError(
            f"no scales of {model} come with this package (there are {', '.join(known) or 'none'}): name what to "
            "calibrate on with --calibration"
        )
    return Scales.read(path)


def multiplies_int8(device: Device) -> bool:
    """Whether a device multiplies INT8 in hardware, without saturating and faster than FP32."""
    return device.kind != "cpu" or not _EXACT.isdisjoint(device.features)


def weight_bits(device: Device) -> int:
    """Bits of INT8 weights that suit a device.

    Without VNNI, a processor adds pairs of products in 16 bits, which saturates; weights of 7 bits never do. Encoder on
    AVX2, cosine p1: 0.9909 with 8 bits, 0.9923 with 7 (0.9955 with 8 in exact arithmetic).
    """
    return WEIGHT_BITS if multiplies_int8(device) else WEIGHT_BITS - 1
