"""The gated scales that ship beside a model's weights, so that a default build may choose INT8 without calibrating."""

from pathlib import Path

from millirank_engines.artifact import sha256_of
from millirank_engines.build.source import open_source, resolve_source
from millirank_engines.device import Device
from millirank_engines.model import ENCODER

from .bits import multiplies_int8
from .int8 import Int8
from .scales import FILE, Scales

TIMED = 12  # of a reranker's profiles: 72 took minutes on two slow cores
_ENCODER = Path(__file__).parents[2] / "models" / "encoder"  # its weights are another package


def scales_beside(source: str) -> Path | None:
    """The file of a model's scales, or None if it has none.

    Raises:
        ModelRefused: if there is no such model.
    """
    path = (_ENCODER if source == ENCODER else resolve_source(source)) / FILE
    return path if path.is_file() else None


def shipped_int8(source: str, device: Device) -> Int8 | None:
    """What `--precision auto` needs, where INT8 may pay: there are scales of these very weights, and VNNI or the like.

    Raises:
        EngineError: if the file is damaged.
        ModelRefused: if there is no such model.
    """
    if not multiplies_int8(device):
        return None
    path = scales_beside(source)
    if path is None:
        return None
    scales = Scales.read(path)
    files = {name: sha256_of(file) for name, file in open_source(source).files().items()}
    return Int8(scales, timed=TIMED) if scales.about.get("inputs") == files and "gate" in scales.about else None
