"""Building for OpenVINO: its IR, with dynamic shapes; the buckets are what serves."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millirank_engines.base import Engine, Profile
from millirank_engines.device import Device, this_cpu
from millirank_engines.load import start_engine
from millirank_engines.manifest import Manifest
from millirank_engines.model import ModelSpec, Task

from .graph import Form
from .nodes import Precision
from .profiles import Profiles, longest_input
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .export import Export

BATCHES: dict[Task, tuple[int, ...]] = {
    "embed": (1, 2, 4, 8),
    "rerank": (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 50),  # fine where a CPU ends within milliseconds
}
LENGTHS: dict[Task, tuple[int, ...]] = {"embed": (8, 16, 32, 64), "rerank": (24, 32, 40, 48, 64, 80)}
LONGER = (96, 128, 192, 256, 384, 512)
INDEXING = 32  # texts at once


def default_profiles(model: ModelSpec) -> tuple[Profile, ...]:
    """The shapes that serving and indexing need: as long as the model's texts can become by its template."""
    longest = longest_input(model)
    ladder: Sequence[int] = [n for n in LENGTHS[model.task] + LONGER if n <= model.max_length] or [model.max_length]
    last = next((n for n in ladder if n >= longest), model.max_length)
    lengths = [n for n in ladder if n < last] + [last]
    profiles = {Profile(batch, length) for batch in BATCHES[model.task] for length in lengths}
    if model.task == "embed":
        profiles |= {Profile(INDEXING, length) for length in lengths if length > lengths[0] or len(lengths) == 1}
    return tuple(sorted(profiles))


class OpenVino:
    """See Backend."""

    name = "openvino"
    libraries: tuple[str, ...] = ("openvino",)
    recipe: tuple[str, ...] = ("openvino.py",)
    form = Form()
    versions: Mapping[str, str] = {}
    baseline: Mapping[str, str] = {}

    def __init__(self) -> None:
        from millirank_engines.openvino import HINTS, default_precision

        best = default_precision()
        self.precisions: tuple[str, ...] = (best, *(name for name in HINTS if name != best), "int8", "auto")

    @property
    def device(self) -> Device:
        """See Backend."""
        return this_cpu()

    def options(self) -> Mapping[str, Any]:
        """See Backend."""
        return {}

    def arguments(self) -> list[str]:
        """See Backend."""
        return []

    def types(self, precision: str) -> Precision:
        """See Backend."""
        return "fp16" if precision == "fp16" else "fp32"

    def profiles(self, model: ModelSpec, asked: Profiles | None) -> Profiles:
        """See Backend."""
        return Profiles(asked.buckets if asked else default_profiles(model))

    def compile(self, source: "Export", folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:  # noqa: ARG002 - see Backend
        """See Backend."""
        import openvino as ov

        ov.save_model(ov.Core().read_model(source.folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False)

    def engine(self, folder: Path, manifest: Manifest) -> Engine | None:
        """See Backend; without static models, which compute the same."""
        return start_engine(folder, manifest, static=False)
