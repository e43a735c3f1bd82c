import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import catalog_kit as kit
import numpy as np
import orjson
import pytest

from millirank.catalog.indexes import LEXICAL_WEIGHT
from millirank.catalog.ingest import build_snapshot
from millirank.catalog.packed import Packed, PackedWriter
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.words import Words
from millirank.errors import CatalogError
from millirank.v1.search_pb2 import Product


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    build_snapshot(tmp_path / "index", kit.rows(kit.products(300)), kit.models(tmp_path))
    return tmp_path / "index"


def test_rows_are_aligned_with_the_feed(catalog: Path, tmp_path: Path) -> None:
    models, expected = kit.models(tmp_path), list(kit.products(300))
    snapshot = Snapshot.open(catalog, encoder=models.encoder_tokens.spec, reranker=models.reranker_tokens.spec)
    assert len(snapshot) == 300
    assert snapshot.version == 1
    assert snapshot.ids(range(300)) == [product["id"] for product in expected]
    assert snapshot.products(np.array([7, 3, 7], np.uint32)) == [expected[7], expected[3], expected[7]]
    for row in (0, 150, 299):
        np.testing.assert_array_equal(snapshot.tokens[row], models.reranker_tokens.product(expected[row]))
    assert snapshot.tokens[5].dtype == np.uint16
    gathered = snapshot.tokens.gather(np.array([5, 299, 5], np.uint32))
    for place, row in enumerate((5, 299, 5)):
        assert np.shares_memory(gathered[place], snapshot.tokens[row])  # nothing is copied
        assert gathered[place].tolist() == snapshot.tokens[row].tolist()
    with pytest.raises(IndexError):
        snapshot.tokens.gather(np.array([300], np.uint32))
    assert snapshot.tokens.lengths([0, 299]).tolist() == [len(snapshot.tokens[0]), len(snapshot.tokens[299])]
    snapshot.close()


def test_products_are_rendered_for_the_wire(catalog: Path) -> None:
    snapshot = Snapshot.open(catalog)
    ((id_, data),) = snapshot.rendered([4])
    product = Product.FromString(data)
    assert (id_, product.id, product.price) == ("p4", "p4", 2.0)
    assert not product.HasField("in_stock")
    snapshot.close()


def test_many_threads_may_read(catalog: Path) -> None:
    snapshot = Snapshot.open(catalog)
    expected = list(kit.products(300))
    answers: list[bool] = []

    def read(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, 300, 500).tolist()
        answers.extend(snapshot.products([row]) == [expected[row]] for row in rows)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 2000
    snapshot.close()


def test_no_catalogue_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"holds no snapshot: make one with `millirank index --catalog FILE --out"):
        Snapshot.open(tmp_path)


@pytest.mark.parametrize("name", ["dense.faiss", "tokens.items", "ids.offsets", "bm25/meta.json"])
def test_a_changed_file_is_refused(catalog: Path, name: str) -> None:
    path = catalog / "snapshots/1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        CatalogError, match=rf"{name} was changed after it was sealed: make a new one with `millirank index`"
    ):
        Snapshot.open(catalog)


def test_a_cut_file_is_refused_even_without_hashing(catalog: Path) -> None:
    path = catalog / "snapshots/1/tokens.items"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CatalogError, match=r"tokens\.items has \d+ bytes, it had \d+"):
        Snapshot.open(catalog, hashes=False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("dense.faiss", "is missing"), ("SEAL", "is missing"), ("manifest.json", "is not sealed")],
)
def test_a_missing_file_is_refused(catalog: Path, name: str, reason: str) -> None:
    (catalog / "snapshots/1" / name).unlink()
    with pytest.raises(CatalogError, match=f"{reason}.*millirank index"):
        Snapshot.open(catalog)


def test_a_changed_manifest_is_refused(catalog: Path) -> None:
    path = catalog / "snapshots/1/manifest.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "products": 5}))
    with pytest.raises(CatalogError, match="was changed after it was sealed"):
        Snapshot.open(catalog)


def test_a_snapshot_of_the_format_before_is_refused_with_the_command(catalog: Path) -> None:
    path = catalog / "snapshots/1"
    data = orjson.dumps({**orjson.loads((path / "manifest.json").read_bytes()), "format": 1})
    (path / "manifest.json").write_bytes(data)
    (path / "SEAL").write_text(hashlib.sha256(data).hexdigest())
    with pytest.raises(
        CatalogError, match="its format is 1, this version reads 2: make a new one with `millirank index`"
    ):
        Snapshot.open(catalog)


def test_a_snapshot_keeps_the_words_of_its_products(catalog: Path) -> None:
    snapshot = Snapshot.open(catalog)
    words = Words(snapshot.path, sorted((snapshot.path / "words").iterdir()))
    products = snapshot.products(range(300))
    kettles = sum("kettle" in product["title"] for product in products)
    assert len(words) == snapshot.manifest["words"]
    assert words.count("kettle") == kettles > 5
    assert words.near("ketle", 1) == words.near("ketel", 2) == [("kettle", kettles)]
    assert words.near("kettel", 1) == [("kettle", kettles)], "letters that are swapped are one slip"
    assert "acme" in words
    assert "kettel" not in words
    assert words.count("kettel") == 0
    assert "w7" not in words, "nothing with a digit is a word"
    assert snapshot.manifest["fusion"] == {"lexical": LEXICAL_WEIGHT, "queries": 0}
    assert snapshot.manifest["bm25"]["fields"] == {"title": 2, "brand": 1, "description": 1, "category": 1}
    snapshot.close()


def test_current_that_names_nothing_is_refused(catalog: Path) -> None:
    (catalog / "CURRENT").write_text("one")
    with pytest.raises(CatalogError, match="names no snapshot"):
        Snapshot.open(catalog)
    (catalog / "CURRENT").write_text("8")
    with pytest.raises(CatalogError, match="snapshots/8"):
        Snapshot.open(catalog)


@pytest.mark.parametrize("role", ["encoder", "reranker"])
def test_other_models_are_refused(catalog: Path, tmp_path: Path, role: str) -> None:
    models = kit.models(tmp_path)
    spec = models.encoder_tokens.spec if role == "encoder" else models.reranker_tokens.spec
    with pytest.raises(CatalogError, match=f"was made with the {role} fake/.*index again with"):
        Snapshot.open(catalog, **{role: replace(spec, hash="another")})


def test_an_open_snapshot_outlives_the_runs_after_it(catalog: Path, tmp_path: Path) -> None:
    old = Snapshot.open(catalog)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import catalog_kit as kit\n"
        "from millirank.catalog.ingest import build_snapshot\n"
        "out = Path(sys.argv[1])\n"
        "for seed in (1, 2): build_snapshot(out, kit.rows(kit.products(50, seed)), kit.models(out))\n"
    )
    subprocess.run([sys.executable, "-c", script, catalog, Path(__file__).parent], check=True)
    assert old.products(range(300)) == list(kit.products(300))
    again = Snapshot.open(catalog)
    assert again.version == 3
    assert again.products(range(50)) == list(kit.products(50, 2))
    assert sorted(path.name for path in (catalog / "snapshots").iterdir()) == ["1", "3"]
    old.close()
    again.close()
    build_snapshot(catalog, kit.rows(kit.products(50, 3)), kit.models(tmp_path))
    assert [path.name for path in (catalog / "snapshots").iterdir()] == ["4"]


def test_packed_rows_may_be_empty(tmp_path: Path) -> None:
    with PackedWriter(tmp_path, "none", np.uint32) as writer:
        writer.extend([b"", b""])
    packed = Packed(tmp_path, "none", np.uint32)
    assert len(packed) == 2
    assert packed[1].tolist() == []
    assert packed.lengths([0, 1]).tolist() == [0, 0]
