import fcntl
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from millirank import stack
from millirank.catalog.layout import MANIFEST, CatalogFolder
from millirank.catalog.snapshot import SEAL, seal
from millirank.config import Settings
from millirank.core import Core
from millirank.costs import CostTable
from millirank.errors import CatalogError, ConfigError
from millirank_engines import LoadedEngine, open_engine, read_manifest
from millirank_engines.base import ArtifactRefused, EngineFailed, Profile


def test_a_start_that_fails_leaves_nothing_open(tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[LoadedEngine] = []

    def watched(*arguments: Any, **options: Any) -> LoadedEngine:
        loaded.append(open_engine(*arguments, **options))
        return loaded[-1]

    def broken(_: Core) -> None:
        raise EngineFailed("the runtime broke in the warm-up")

    monkeypatch.setattr(stack, "open_engine", watched)
    monkeypatch.setattr(Core, "start", broken)
    with pytest.raises(EngineFailed):
        stack.Stack(Settings(index=tiny_index))
    assert [one.engine.profiles for one in loaded] == [(), ()]  # both are closed
    folder = CatalogFolder(tiny_index)
    version = folder.current()
    assert version is not None
    with (folder.snapshot(version) / SEAL).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # would raise if the snapshot were still open


@pytest.fixture
def indexed_again(tiny_index: Path, tmp_path: Path) -> Path:
    """A copy of the index with a second snapshot, which is current."""
    copy = tmp_path / "index"
    shutil.copytree(tiny_index, copy, symlinks=True)
    folder = CatalogFolder(copy)
    shutil.copytree(folder.snapshot(1), folder.snapshot(2))
    manifest = {**orjson.loads((folder.snapshot(2) / MANIFEST).read_bytes()), "version": 2}
    for name in (MANIFEST, SEAL):
        (folder.snapshot(2) / name).unlink()
    seal(folder.snapshot(2), {key: value for key, value in manifest.items() if key not in {"files", "format"}})
    (copy / "CURRENT").write_text("2", "ascii")
    return copy


def test_a_side_that_is_started_again_opens_what_its_siblings_serve(indexed_again: Path) -> None:
    settings = Settings(index=indexed_again)
    for asked, version in ((None, 2), (1, 1)):
        front = stack.FrontSide(settings, Nobody(), snapshot=asked)
        assert front.snapshot.version == version
        front.close()
    shutil.rmtree(CatalogFolder(indexed_again).snapshot(1))
    with pytest.raises(CatalogError, match="start `millirank serve` again"):
        stack.FrontSide(settings, Nobody(), snapshot=1)


class Nobody:
    """A transport that is never used."""

    def backlog(self) -> Any:
        raise AssertionError

    encode = rerank = backlog


def test_known_costs_are_not_measured_again(tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(_: Core) -> None:
        raise AssertionError

    folders = [tiny_index / "engines" / name for name in stack.MODELS]
    encoder, reranker = ({p: 1e-4 * p.batch for p in read_manifest(folder).profiles} for folder in folders)
    monkeypatch.setattr(Core, "warm_up", measured)
    side = stack.CoreSide(Settings(index=tiny_index), costs=(CostTable(encoder), CostTable(reranker)))
    assert (side.core.encode_costs.seconds, side.core.rerank_costs.seconds) == (encoder, reranker)
    side.close()
    with pytest.raises(AssertionError):  # they are of engines that were built anew meanwhile
        stack.CoreSide(Settings(index=tiny_index), costs=(CostTable({Profile(1, 8): 1.0}), CostTable(reranker)))


def test_engines_for_another_kind_of_device_are_refused(tiny_index: Path) -> None:
    with pytest.raises(ConfigError, match=r"is for a cpu, the device is GPU-1: name a cpu with --device"):
        stack.CoreSide(Settings(index=tiny_index, devices=("GPU-1",)))


def test_a_frontend_refuses_a_tokenizer_that_was_changed(tiny_index: Path, tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    shutil.copytree(tiny_index / "engines", engines)
    (engines / "encoder" / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactRefused, match=r"tokenizer\.json"):
        stack.FrontSide(Settings(index=tiny_index, engines=engines), Nobody())
