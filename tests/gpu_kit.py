"""A GPU that is none: TensorRT and CUDA for the whole service, on the fakes that ship, in this process or in others."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from millirank_engines import artifact, gpu, trtmodule
from millirank_engines import cuda as seam
from millirank_engines.artifact import PLAN, files_of, read_manifest, seal
from millirank_engines.base import Profile
from millirank_engines.baseline import readings
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.faketrt import FakeTensorRt, fake_plan
from millirank_engines.trtplan import Range

GPU = gpu.Gpu("Fake GPU", gpu.NO_MIG, (9, 0), "13.0", "580.159")
DEVICE = "GPU-00000000-0000-0000-0000-000000000000"
LOSE = "MILLIRANK_TEST_LOSE"  # names a file: once it is there, the device of one process is lost


class Losable(FakeCuda):
    """A device that is lost when a file appears, which then vanishes."""

    def synchronize(self, stream: int) -> None:
        path = os.environ.get(LOSE)
        if path and Path(path).exists():
            Path(path).unlink()
            self.faults["kernel"] = "cudaErrorIllegalAddress"
        super().synchronize(stream)


def install(
    cuda: FakeCuda,
    set_attribute: Callable[[Any, str, Any], None] = setattr,
    set_item: Callable[[Any, Any, Any], None] = lambda mapping, key, value: mapping.__setitem__(key, value),
) -> None:
    """Lets this process believe in the GPU; with pytest's monkeypatch, for a while."""
    module = FakeTensorRt(cuda)
    for name in ("tensorrt", "tensorrt_rtx"):
        set_item(sys.modules, name, module)
    set_attribute(trtmodule, "trt_module", lambda _backend: module)
    set_attribute(artifact, "trt_module", lambda _backend: module)
    trtmodule.trt_logger.cache_clear()
    set_attribute(seam, "open_cuda", lambda _wait="spin": cuda)
    for user in (gpu, artifact):
        set_attribute(user, "this_gpu", lambda: GPU)


def ranges_over(profiles: tuple[Profile, ...]) -> list[Range]:
    """One wide optimization profile, and one for a sequence alone."""
    batch, length = max(p.batch for p in profiles), max(p.length for p in profiles)
    return [Range((1, 1), (1, length), (batch, length)), Range((1, 1), (1, 8), (1, length))]


def tensorrt_from_openvino(source: Path, out: Path) -> Path:
    """A sealed TensorRT artifact that computes what an OpenVINO artifact computes."""
    manifest = read_manifest(source)
    out.mkdir(parents=True)
    for name in ("tokenizer.json", "parity.safetensors"):
        shutil.copyfile(source / name, out / name)
    plan = fake_plan(ranges_over(manifest.profiles), manifest.profiles, model=source / "model.xml")
    (out / PLAN).write_bytes(plan)
    bound = readings("tensorrt", FakeTensorRt(FakeCuda()).__version__, GPU)
    device, made = GPU.device(platform.machine()), files_of(out)
    seal(out, replace(manifest, backend="tensorrt", precision="fp16", device=device, baseline=bound, files=made))
    return out


def gpu_engines(index: Path, out: Path) -> Path:
    """The engines of an index, for the GPU."""
    for name in ("encoder", "reranker"):
        tensorrt_from_openvino(index / "engines" / name, out / name)
    return out


def process_environment(folder: Path, lose: Path | None = None) -> dict[str, str]:
    """The environment in which every Python process believes in the GPU."""
    folder.mkdir(exist_ok=True)
    tests = str(Path(__file__).parent)
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.append({tests!r})\nimport gpu_kit\ngpu_kit.install(gpu_kit.Losable())\n", "ascii"
    )
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **({LOSE: str(lose)} if lose else {})}
