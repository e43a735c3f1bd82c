import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from millirank_engines import ArtifactRefused, Check, Manifest, ModelSpec, Profile, open_engine, read_manifest
from millirank_engines.artifact import MANIFEST, SEAL, digest, files_of, seal
from millirank_engines.base import EngineError
from millirank_engines.build import place
from millirank_engines.device import Device, cpu_from_cpuinfo, library_version, this_cpu
from millirank_engines.figures import Latency
from millirank_engines.manifest import FORMAT, parse_profile

MODEL = ModelSpec("tiny", "embed", "ab", 8, 1, 8, 100, 64, 1, 2, 0)


def manifest_of(folder: Path) -> Manifest:
    return Manifest(
        key="k",
        model=MODEL,
        backend="openvino",
        precision="fp32",
        profiles=(Profile(1, 8), Profile(4, 16)),
        files=files_of(folder),
        inputs={"model.safetensors": "cd"},
        versions={"openvino": library_version("openvino")},
        device=this_cpu(),
        parity=(Check("cosine_p1", 1.0, 0.999, at_least=True),),
        command="millirank engine build --model tiny --task embed",
        created="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "tokenizer.json").write_bytes(b"{}")
    seal(folder, manifest_of(folder))
    return folder


def resealed(folder: Path, **changes: object) -> None:
    seal(folder, replace(read_manifest(folder), **changes))  # type: ignore[arg-type]


def edited(folder: Path, old: str, new: str) -> None:
    file = folder / MANIFEST
    file.write_text(file.read_text().replace(old, new))


def test_a_manifest_survives_its_file(sealed: Path) -> None:
    manifest = read_manifest(sealed)
    assert manifest == replace(manifest_of(sealed), files=manifest.files)
    assert set(manifest.files) == {"model.bin", "tokenizer.json"}
    assert manifest.name == "tiny"


REFUSALS: list[tuple[str, Callable[[Path], object], str]] = [
    ("file missing", lambda f: (f / "model.bin").unlink(), "misses its file model.bin"),
    ("size", lambda f: (f / "model.bin").write_bytes(b"weight"), "model.bin has 6 bytes, not 7"),
    ("hash", lambda f: (f / "model.bin").write_bytes(b"weightz"), "sha256 of model.bin is another"),
    ("unsealed", lambda f: (f / SEAL).unlink(), "is not sealed"),
    ("no manifest", lambda f: (f / MANIFEST).unlink(), "is no artifact"),
    ("manifest changed", lambda f: edited(f, '"fp32"', '"bf16"'), "changed after it was sealed"),
    ("format", lambda f: resealed(f, format=FORMAT + 1), f"has format {FORMAT + 1}"),
    ("library", lambda f: resealed(f, versions={"openvino": "2020.1.0"}), "was built with openvino 2020.1.0, here is"),
    ("backend", lambda f: resealed(f, backend="abacus"), "backend 'abacus', this version knows openvino"),
    ("feature", lambda f: resealed(f, device=replace(this_cpu(), features=("avx1024",))), "a processor with avx1024"),
    ("machine", lambda f: resealed(f, device=replace(this_cpu(), machine="vax")), "a processor with a vax cpu"),
    ("outside", lambda f: resealed(f, files={"../artifact/model.bin": (7, "")}), "misses its file ../"),
]


@pytest.mark.parametrize(("change", "reason"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_loading_refuses_with_the_reason_and_the_fix(
    sealed: Path, change: Callable[[Path], object], reason: str
) -> None:
    change(sealed)
    with pytest.raises(ArtifactRefused) as refused:
        open_engine(sealed)
    assert reason in str(refused.value)
    assert "`millirank engine build --model" in str(refused.value)
    assert f"--out {sealed}`" in str(refused.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused, match="is no folder: build it: `millirank engine build"):
        open_engine(tmp_path / "none")


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"format": 2}', '{"format": 2, "model": 3}'])
def test_a_sealed_manifest_of_something_else_is_refused(sealed: Path, content: str) -> None:
    import hashlib

    (sealed / MANIFEST).write_text(content)
    (sealed / SEAL).write_text(hashlib.sha256(content.encode()).hexdigest())
    with pytest.raises(ArtifactRefused, match="cannot be read"):
        read_manifest(sealed)


def test_a_patch_release_is_another_version_but_a_build_number_is_not(sealed: Path) -> None:
    from millirank_engines.artifact import refuse_misfit

    here = library_version("openvino")
    resealed(sealed, versions={"openvino": f"{here}.post99"})
    refuse_misfit(sealed, read_manifest(sealed))
    resealed(sealed, versions={"openvino": ".".join([*here.split(".")[:2], "999"])})
    with pytest.raises(ArtifactRefused, match="999"):
        refuse_misfit(sealed, read_manifest(sealed))


def test_profiles_are_read_as_they_are_written() -> None:
    assert parse_profile(str(Profile(50, 32))) == Profile(50, 32)
    for wrong in ("", "50", "x32", "50x", "0x8", "-1x8", "1x8x2", "axb"):
        with pytest.raises(EngineError, match="BATCHxLENGTH"):
            parse_profile(wrong)


def test_a_check_never_passes_on_nan() -> None:
    assert not Check("error", float("nan"), 1.0).passed
    assert not Check("cosine", float("nan"), 0.9, at_least=True).passed
    assert Check("error", 0.5, 1.0).passed


def test_the_digest_ignores_the_order_of_keys_only() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_processor_is_read_from_cpuinfo() -> None:
    x86 = cpu_from_cpuinfo("model name\t: Big\nflags\t\t: fpu avx2 avx512_bf16 lm\n\nmodel name\t: Other\n", "x86_64")
    assert x86 == Device("cpu", "x86_64", "Big", ("avx2", "avx512_bf16"))
    assert x86.has_bf16
    arm = cpu_from_cpuinfo("processor\t: 0\nFeatures\t: fp asimd i8mm\n", "aarch64")
    assert (arm.features, arm.has_bf16) == (("asimd", "i8mm"), False)
    assert x86.lacks(replace(x86, features=("avx2",), name="Small")) == ""
    assert replace(x86, features=()).lacks(x86) == "avx2, avx512_bf16"


def test_the_new_folder_replaces_the_old_one(sealed: Path) -> None:
    with place.building(sealed) as folder:
        (folder / "new").touch()
        place.move_into_place(folder, sealed)
    assert [p.name for p in sealed.iterdir()] == ["new"]
    assert [p.name for p in sealed.parent.iterdir()] == ["artifact"]


def test_without_exchange_the_old_folder_is_moved_aside(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.sys, "platform", "darwin")
    test_the_new_folder_replaces_the_old_one(sealed)


def test_a_build_that_fails_leaves_the_old_artifact_alone(sealed: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"), place.building(sealed):
        raise RuntimeError("half way")
    assert read_manifest(sealed).name == "tiny"
    assert [p.name for p in sealed.parent.iterdir()] == ["artifact"]


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(sealed: Path) -> None:
    dead = 2**22 + 1  # above the largest process id
    for pid in (dead, os.getppid()):
        (sealed.parent / f".artifact.building.{pid}").mkdir()
    place.clean_leftovers(sealed)
    assert {p.name for p in sealed.parent.iterdir()} == {"artifact", f".artifact.building.{os.getppid()}"}


def test_an_old_artifact_that_was_only_moved_aside_comes_back(sealed: Path) -> None:
    sealed.rename(sealed.parent / f".artifact.old.{2**22 + 1}")
    place.clean_leftovers(sealed)
    assert read_manifest(sealed).name == "tiny"


def test_a_place_where_no_folder_can_be_made_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="choose another --out"), place.building(tmp_path / "file" / "encoder"):
        pytest.fail("nothing can be built in a file")


def test_what_no_build_made_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    place.refuse_foreign(tmp_path / "photos", MANIFEST)
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(EngineError, match="choose another --out"):
        place.refuse_foreign(tmp_path / "photos", MANIFEST)


def test_nothing_in_a_manifest_is_anything_but_plain_data(sealed: Path) -> None:
    assert json.loads((sealed / MANIFEST).read_text())["files"]["model.bin"]["size"] == 7


def test_a_manifest_keeps_what_a_gpu_is_held_to(sealed: Path) -> None:
    baseline = {"cuda": "*", "driver": ">=550", "tensorrt": ">=10.6.0,<12", "gpu": "NVIDIA H100 PCIe", "mig": "none"}
    resealed(sealed, baseline=baseline, latencies=(Latency(Profile(4, 16), 0.3, 0.35, 1000),), parity=())
    manifest = read_manifest(sealed)
    assert dict(manifest.baseline) == baseline
    assert manifest.latencies == (Latency(Profile(4, 16), 0.3, 0.35, 1000),)
    assert (manifest.verified, manifest.version_compatible) == (False, True)
    assert json.loads((sealed / MANIFEST).read_text())["verified"] is False
