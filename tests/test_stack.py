import fcntl
from pathlib import Path
from typing import Any

import pytest

from millirank import stack
from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import SEAL
from millirank.config import Settings
from millirank.core import Core
from millirank_engines import LoadedEngine, open_engine
from millirank_engines.base import EngineFailed


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
