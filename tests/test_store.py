import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millirank.catalog import store
from millirank.catalog.store import ProductReader, writing
from millirank.errors import CatalogError

FIRST, SECOND = {"id": "a", "title": "First"}, {"id": "b", "title": "Zweite ü"}


def written(path: Path, *products: dict, keep: set[str] | None = None) -> str:
    with writing(path, keep or set()) as writer:
        for product in products:
            assert writer.add(product)
        writer.commit()
        return writer.generation


def test_products_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    generation = written(tmp_path / "p.lmdb", FIRST, SECOND)
    reader = ProductReader(tmp_path / "p.lmdb", generation)
    assert reader.get(["b", "a", "b"]) == [SECOND, FIRST, SECOND]
    with pytest.raises(CatalogError, match="has lost product c"):
        reader.get(["a", "c"])
    reader.close()
    reader.close()


def test_a_duplicate_is_refused_and_changes_nothing_also_across_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TRANSACTION_BYTES", 1)
    with writing(tmp_path / "p.lmdb", set()) as writer:
        assert writer.add(FIRST)
        assert not writer.add({"id": "a", "title": "Another"})
        writer.commit()
        assert writer.get(["a"]) == [FIRST]


def test_generations_stand_beside_each_other_and_unnamed_ones_make_room(tmp_path: Path) -> None:
    path = tmp_path / "p.lmdb"
    one = written(path, FIRST)
    two = written(path, SECOND, keep={one})
    reader_one, reader_two = ProductReader(path, one), ProductReader(path, two)
    assert (reader_one.get(["a"]), reader_two.get(["b"])) == ([FIRST], [SECOND])
    reader_one.close()
    reader_two.close()
    assert written(path, FIRST, keep={two}) == one
    with pytest.raises(CatalogError, match="millirank index"):
        ProductReader(path, "products/7")


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "p.lmdb"
    with writing(path, set()) as writer:
        writer.add(FIRST)
    with writing(path, {writer.generation}) as again:
        assert again.generation != writer.generation
    reader = ProductReader(path, writer.generation)
    with pytest.raises(CatalogError, match="has lost"):
        reader.get(["a"])
    reader.close()


def test_several_readers_share_the_file_and_the_last_one_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "p.lmdb"
    generation = written(path, FIRST)
    readers = [ProductReader(path, generation) for _ in range(3)]
    with pytest.raises(CatalogError, match="close the snapshots that this process holds"), writing(path, set()):
        pass
    for reader in readers[:2]:
        reader.close()
    assert readers[2].get(["a"]) == [FIRST]
    readers[2].close()
    assert written(path, SECOND) == generation


def test_a_generation_used_again_is_read_anew_through_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "p.lmdb"
    generation = written(path, FIRST)
    keeps_open, old = ProductReader(path, generation), ProductReader(path, generation)
    old.close()
    script = (
        "import sys; from pathlib import Path; from millirank.catalog.store import writing\n"
        "with writing(Path(sys.argv[1]), set()) as w:\n"
        "    assert w.generation == sys.argv[2]\n"
        "    w.add({'id': 'c', 'title': 'Third'}); w.commit()\n"
    )
    subprocess.run([sys.executable, "-c", script, path, generation], check=True)
    new = ProductReader(path, generation)
    assert new.get(["c"]) == [{"id": "c", "title": "Third"}]
    new.close()
    keeps_open.close()


def test_readers_that_were_killed_do_not_use_up_the_reader_table(tmp_path: Path) -> None:
    path = tmp_path / "p.lmdb"
    generation = written(path, FIRST)
    script = (
        "import os, sys; from pathlib import Path; from millirank.catalog.store import ProductReader\n"
        "r = ProductReader(Path(sys.argv[1]), sys.argv[2]); t = r._environment.begin(); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, path, generation], check=False)
    assert killed.returncode == -signal.SIGKILL
    import lmdb

    with writing(path, {generation}):
        pass
    environment = lmdb.open(str(path), subdir=False, readonly=True, max_dbs=4, map_size=store.MAP_SIZE)
    assert str(os.getpid()) in environment.readers() or "no active readers" in environment.readers()
    environment.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.lmdb").write_bytes(b"x" * 10_000)
    with pytest.raises(CatalogError, match="cannot be opened"):
        ProductReader(tmp_path / "p.lmdb", "products/0")
    with pytest.raises(CatalogError, match="there is no product store"):
        ProductReader(tmp_path / "none.lmdb", "products/0")
