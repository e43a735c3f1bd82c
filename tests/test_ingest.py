import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import catalog_kit as kit
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.catalog import ingest
from millirank.catalog.fields import Reason
from millirank.catalog.ingest import BadRows, build_snapshot
from millirank.catalog.layout import CatalogFolder
from millirank.catalog.rows import BadRow, Row, read_products
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.vectors import encode_all, plan
from millirank.errors import CatalogError
from millirank.retrieve import HybridRetriever
from millirank_engines import EngineError, FakeEngine, Profile

BAD = BadRow(2, Reason.NO_TITLE, "product 2 has no title")


def test_the_manifest_tells_all_about_a_snapshot(tmp_path: Path) -> None:
    models = kit.models(tmp_path)
    report = build_snapshot(tmp_path / "index", [*kit.rows(kit.products(20)), BAD], models)
    snapshot = Snapshot.open(tmp_path / "index")
    manifest = snapshot.manifest
    assert (report.version, report.products, report.bad, report.bad_rows) == (1, 20, {"no title": 1}, (BAD,))
    assert (manifest["version"], manifest["products"], manifest["bad_rows"]) == (1, 20, {"no title": 1})
    assert manifest["encoder"]["hash"] == models.encoder_tokens.spec.hash
    assert manifest["reranker"]["template"]["product_tokens"] == 48
    assert manifest["dense"] == {"kind": "flat", "dim": 8, "recall@100": 1.0, "queries": 0}
    assert manifest["bm25"]["analyzer"] == "english"
    assert manifest["tokens"] == {"dtype": "uint16", "count": int(snapshot.tokens.lengths(range(20)).sum())}
    assert {"dense.faiss", "tokens.items", "ids.items", "bm25/meta.json"} <= manifest["files"].keys()
    assert "vectors" not in manifest["files"]
    snapshot.close()


def test_duplicates_are_named_by_line_and_the_first_one_stays(tmp_path: Path) -> None:
    rows = [Row(1, {"id": "a", "title": "red lamp"}), Row(4, {"id": "a", "title": "blue lamp"})]
    report = build_snapshot(tmp_path / "index", rows, kit.models(tmp_path))
    assert [str(row) for row in report.bad_rows] == ["line 4: duplicate id: a stands in an earlier row"]
    snapshot = Snapshot.open(tmp_path / "index")
    assert snapshot.products([0]) == [{"id": "a", "title": "red lamp"}]
    snapshot.close()


def test_a_strict_run_lists_bad_rows_and_leaves_the_old_snapshot(tmp_path: Path) -> None:
    models, out = kit.models(tmp_path), tmp_path / "index"
    build_snapshot(out, kit.rows(kit.products(5)), models)
    calls = models.encoder.calls
    bad = [BadRow(line, Reason.NO_ID, "the row has no id") for line in range(1, 40)]
    with pytest.raises(BadRows, match="leave out --strict") as caught:
        build_snapshot(out, [*kit.rows(kit.products(9)), *bad], models, strict=True)
    assert caught.value.rows == tuple(bad[:20])
    assert models.encoder.calls == calls, "no model ran"
    snapshot = Snapshot.open(out)
    assert (snapshot.version, len(snapshot)) == (1, 5)
    snapshot.close()
    assert build_snapshot(out, kit.rows(kit.products(9)), models, strict=True).products == 9


def test_an_empty_feed_or_a_failing_engine_leaves_the_old_snapshot(tmp_path: Path) -> None:
    out = tmp_path / "index"
    build_snapshot(out, kit.rows(kit.products(5)), kit.models(tmp_path))
    with pytest.raises(CatalogError, match=r"holds no product.*\n  line 2: no title"):
        build_snapshot(out, [BAD], kit.models(tmp_path))
    with pytest.raises(EngineError, match="failed on call"):
        build_snapshot(out, kit.rows(kit.products(9)), kit.models(tmp_path, fail=lambda _: True))
    with pytest.raises(EngineError, match="no profile holds 1 sequences"):
        build_snapshot(out, kit.rows(kit.products(9)), kit.models(tmp_path, profiles=[Profile(4, 4)]))
    with pytest.raises(CatalogError, match="there is no analyzer klingon"):
        build_snapshot(out, kit.rows(kit.products(9)), kit.models(tmp_path), analyzer="klingon")
    snapshot = Snapshot.open(out)
    assert (snapshot.version, len(snapshot)) == (1, 5)
    snapshot.close()


def test_many_products_get_hnsw_and_its_recall_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "index"
    report = build_snapshot(out, kit.rows(kit.products(3000)), kit.models(tmp_path, dim=16), exact_up_to=2999)
    snapshot = Snapshot.open(out)
    dense = snapshot.manifest["dense"]
    assert (dense["kind"], dense["M"], dense["efConstruction"], dense["efSearch"]) == ("hnsw", 32, 200, 128)
    assert dense["queries"] == 200
    assert dense["recall@100"] == round(report.dense.recall, 4)
    assert report.dense.recall > 0.9
    retriever = HybridRetriever(snapshot)
    models = kit.models(tmp_path, dim=16)
    vectors = models.vectors(snapshot.products(range(40)))
    assert [int(retriever.dense(vector, 1)[0]) for vector in vectors] == list(range(40))
    snapshot.close()


def test_progress_counts_up_to_the_total_of_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "WINDOW", 10)
    told: list[tuple[str, int, int | None]] = []
    rows = kit.rows(kit.products(25))
    build_snapshot(tmp_path / "index", rows, kit.models(tmp_path), progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "storing"] == [
        ("storing", 10, None),
        ("storing", 20, None),
        ("storing", 25, 25),
    ]
    assert [done for stage, done, _ in told if stage == "encoding"] == [0, 10, 20, 25]
    assert told[-1] == ("indexing", 25, 25)


def test_memory_does_not_grow_with_the_feed(tmp_path: Path) -> None:
    models = kit.models(tmp_path)

    def peak(count: int) -> int:
        feed, out = tmp_path / f"{count}.jsonl", tmp_path / f"index{count}"
        with feed.open("wb") as file:
            for product in kit.products(count):
                file.write(orjson.dumps(product) + b"\n")
        tracemalloc.start()
        with CatalogFolder(out).lock():
            _, building = CatalogFolder(out).building()
            with ingest.writing(CatalogFolder(out).products, set()) as store:
                stored, _, _ = ingest._store(read_products(feed), store, building, strict=False, tell=ingest._silent)
                for start, products in ingest._windows(store, building):
                    assert models.reranker_tokens.products(products)
                    assert start < stored
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert stored == count
        return most

    small, large = peak(5_000), peak(30_000)
    assert large < small * 1.3 + (1 << 20)


KILL = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import catalog_kit as kit
from millirank.catalog import ingest, layout
ingest.WINDOW = 50
out, point = Path(sys.argv[1]), sys.argv[3]
def die(): os.kill(os.getpid(), 9)
def progress(stage, done, total):
    if point == f"{stage} {done}": die()
if point == "sealed": ingest.CatalogFolder.publish = lambda *_: die()
if point == "renamed":
    Path.replace = lambda self, target: die()
def keep(self, kept):
    if ingest.CatalogFolder(out).current() == 2: die()
if point == "published": ingest.ProductWriter.keep = keep
ingest.build_snapshot(out, kit.rows(kit.products(200, 1)), kit.models(out.parent), progress=progress)
"""


@pytest.mark.parametrize(
    ("point", "serves"),
    [
        ("storing 100", 1),
        ("encoding 0", 1),
        ("encoding 100", 1),
        ("indexing 0", 1),
        ("sealed", 1),
        ("renamed", 1),
        ("published", 2),
    ],
)
def test_a_killed_run_leaves_a_whole_snapshot_and_the_next_one_succeeds(
    tmp_path: Path, point: str, serves: int
) -> None:
    out = tmp_path / "index"
    build_snapshot(out, kit.rows(kit.products(100)), kit.models(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILL, out, Path(__file__).parent, point], check=False)
    assert killed.returncode == -signal.SIGKILL
    snapshot = Snapshot.open(out)
    expected = list(kit.products(100)) if serves == 1 else list(kit.products(200, 1))
    assert snapshot.version == serves
    assert snapshot.products(range(len(snapshot))) == expected
    assert len(HybridRetriever(snapshot).lexical("kettle", 500).rows) > 5
    snapshot.close()
    report = build_snapshot(out, kit.rows(kit.products(30, 2)), kit.models(tmp_path))
    snapshot = Snapshot.open(out)
    assert snapshot.version == report.version == serves + 1
    assert snapshot.products(range(30)) == list(kit.products(30, 2))
    assert [path.name for path in (out / "snapshots").iterdir()] == [str(report.version)]
    snapshot.close()


def test_one_writer_at_a_time_and_the_error_names_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from millirank.catalog.layout import CatalogFolder\n"
        "with CatalogFolder(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CatalogError, match=rf"pid {holder.pid}.*`kill {holder.pid}`"):
            build_snapshot(tmp_path, kit.rows(kit.products(3)), kit.models(tmp_path))
        os.kill(holder.pid, signal.SIGKILL)
    assert build_snapshot(tmp_path, kit.rows(kit.products(3)), kit.models(tmp_path)).products == 3


LENGTHS = st.lists(st.integers(2, 96), max_size=80).map(lambda lengths: sorted(lengths, reverse=True))


@given(LENGTHS)
def test_every_sequence_gets_a_batch_that_holds_it(lengths: list[int]) -> None:
    profiles = FakeEngine().profiles
    start = 0
    for profile, count in plan(lengths, profiles):
        assert 0 < count <= profile.batch
        assert lengths[start] <= profile.length
        start += count
    assert start == len(lengths)


def test_vectors_come_back_in_the_order_of_their_texts() -> None:
    engine = FakeEngine()
    rng = np.random.default_rng(0)
    sequences = [rng.integers(200, 30_000, rng.integers(0, 60)).astype(np.uint16) for _ in range(150)]
    together = encode_all(engine, engine.spec, sequences)
    alone = np.concatenate([encode_all(engine, engine.spec, [sequence]) for sequence in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert engine.calls < 150 + 40


def test_the_report_says_how_long_it_took(tmp_path: Path) -> None:
    began = time.monotonic()
    report = build_snapshot(tmp_path, kit.rows(kit.products(3)), kit.models(tmp_path))
    assert 0 < report.seconds <= time.monotonic() - began
