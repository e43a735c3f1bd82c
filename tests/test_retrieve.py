import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import catalog_kit as kit
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.catalog.indexes import Bm25Writer, analyzer, other_text_of, text_of
from millirank.catalog.ingest import build_snapshot
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.words import WordCounts, Words
from millirank.errors import CatalogError
from millirank.retrieve import Bm25Index, ExactIndex, Fusion, HybridRetriever, fuse
from millirank.segments import segments
from millirank.spelling import Speller

TITLES = [
    'laptop 17" screen',
    "red kettle",
    "blue kettle, 1.7 l",
    "coffee machine",
    "Café crème cups",
    "running shoes",
    "desk lamp AND shade",
    "HP 302XL ink",
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    build_snapshot(tmp_path / "index", kit.titled(TITLES), kit.models(tmp_path))
    return tmp_path / "index"


@pytest.fixture
def retriever(index: Path) -> Iterator[HybridRetriever]:
    snapshot = Snapshot.open(index)
    yield HybridRetriever(snapshot)
    snapshot.close()


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("kettles", [1, 2]),
        ("CAFE", [4]),
        ('17"', [0]),
        ("302xl", [7]),
        ("shoe run", [5]),
        ("blue: kettle", [2, 1]),
        ("-kettle", [1, 2]),
    ],
)
def test_words_find_products(retriever: HybridRetriever, text: str, best: list[int]) -> None:
    found = retriever.lexical(text, 10)
    assert found.rows.dtype == np.uint32
    assert found.rows.tolist() == best


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        '"',
        '"open',
        "title:kettle",
        "AND",
        "a OR",
        "(",
        "+-",
        "*",
        "[a TO b]",
        "\\",
        "~5",
        "/x/",
        "\0",
        "🙂",
        "\u200f\u05e9\u05dc\u05d5",
        "^2",
        "'",
    ],
)
def test_hostile_text_is_only_words(retriever: HybridRetriever, text: str) -> None:
    assert set(retriever.lexical(text, 10).rows.tolist()) <= set(range(len(TITLES)))


@given(st.text(max_size=300))
def test_any_text_is_answered_by_the_exact_index(text: str) -> None:
    index = ExactIndex(np.eye(3, dtype=np.float32), TITLES[:3])
    assert set(index.lexical(text, 10).rows.tolist()) <= {0, 1, 2}


def test_a_star_is_no_wildcard_and_a_colon_no_field(retriever: HybridRetriever) -> None:
    assert retriever.lexical("*", 10).rows.tolist() == []
    assert retriever.lexical("ket*", 10).rows.tolist() == []
    assert retriever.lexical("row:9", 10).rows.tolist() == []


def test_a_very_long_query_is_answered(retriever: HybridRetriever) -> None:
    assert retriever.lexical(
        "kettle " + "word " * 2000 + " ".join(f"x{number}" for number in range(2000)), 5
    ).rows.tolist() == [1, 2]


def test_both_indexes_return_at_most_k_and_at_most_all(retriever: HybridRetriever) -> None:
    vector = np.ones(8, np.float32)
    assert len(retriever.dense(vector, 3)) == 3
    assert sorted(retriever.dense(vector, 100).tolist()) == list(range(len(TITLES)))
    assert len(retriever.lexical("kettle", 1).rows) == 1
    assert len(retriever.lexical("kettle", 0).rows) == len(retriever.dense(vector, 0)) == 0


def test_dense_agrees_with_the_exact_index(retriever: HybridRetriever, tmp_path: Path) -> None:
    models = kit.models(tmp_path)
    vectors = models.vectors([{"title": title} for title in TITLES])
    exact = ExactIndex(vectors, TITLES)
    for vector in vectors:
        assert retriever.dense(vector, 1).tolist() == exact.dense(vector, 1).tolist()
    assert exact.lexical("kettle", 5).rows.tolist() == retriever.lexical("kettle", 5).rows.tolist()
    assert ExactIndex(vectors).lexical("kettle", 5).rows.tolist() == []


def test_threads_get_the_answers_of_one(retriever: HybridRetriever) -> None:
    answers: list[tuple[list[int], int]] = []

    def search() -> None:
        vector = np.ones(8, np.float32)
        answers.extend(
            (retriever.lexical("kettle", 5).rows.tolist(), len(retriever.dense(vector, 4))) for _ in range(100)
        )

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [([1, 2], 4)] * 400


def test_a_sealed_snapshot_is_never_written_to(index: Path) -> None:
    folder = index / "snapshots/1/bm25"
    before = folder.stat().st_mtime_ns, sorted(folder.iterdir())
    snapshot = Snapshot.open(index)
    assert HybridRetriever(snapshot).lexical("kettle", 5).rows.tolist() == [1, 2]
    snapshot.close()
    assert (folder.stat().st_mtime_ns, sorted(folder.iterdir())) == before


def test_an_index_of_another_format_is_refused(index: Path) -> None:
    snapshot = Snapshot.open(index)
    (snapshot.path / "dense.faiss").write_bytes(b"IxXX" + bytes(100))
    with pytest.raises(CatalogError, match="run `millirank index` again"):
        HybridRetriever(snapshot)
    snapshot.close()


SHOP = [
    {"id": "a", "title": "Sony WH-1000XM4 headphones", "brand": "Sony", "attributes": {"colour": "turquoise"}},
    {"id": "b", "title": "case for WH-1000XM4/B, black", "description": "holds any headphones of the 1000 series"},
    {"id": "c", "title": "Sony WH-1000XM5 headphones", "brand": "Sony"},
    {"id": "QX-7712", "title": "grey kettle", "category": "Kitchen > Kettles", "attributes": {"mpn": "KE 1200-B"}},
    {"id": "e", "title": "Wi-Fi repeater 500GB", "description": "a kettle of fish"},
    {"id": "f", "title": "black kettle", "category": "Kitchen > Kettles"},
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[HybridRetriever]:
    build_snapshot(tmp_path / "index", kit.rows(SHOP), kit.models(tmp_path))
    snapshot = Snapshot.open(tmp_path / "index")
    yield HybridRetriever(snapshot)
    snapshot.close()


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("wh-1000xm4", [0, 1]),
        ("WH1000XM4", [0, 1]),
        ("sony wh 1000 xm4", [0]),
        ("qx7712", [3]),
        ("KE1200B kettle", [3]),
    ],
)
def test_a_model_number_is_first_whatever_the_dense_index_says(
    shop: HybridRetriever, text: str, best: list[int]
) -> None:
    found = shop.lexical(text, 10)
    assert found.exact == len(best)
    fused = shop.fused(found, np.array([5, 4, 2, 1, 0], np.uint32))
    assert fused.rows[: len(best)].tolist() == best
    assert fused.exact == len(best)
    assert (np.diff(fused.scores) <= 0).all()


@pytest.mark.parametrize("text", ["500gb", "headphones", "case in black for my sony wh-1000xm4"])
def test_amounts_and_long_queries_name_no_product(shop: HybridRetriever, text: str) -> None:
    found = shop.lexical(text, 10)
    assert found.exact == 0
    assert len(found.rows) > 0


def test_a_misspelled_query_finds_what_the_correct_one_finds(shop: HybridRetriever) -> None:
    assert shop.corrected("gery kettel") == "grey kettle"
    assert shop.corrected("head phones") == "headphones"
    assert shop.corrected("turquoise wh-1000xm9 kettles") == "turquoise wh-1000xm9 kettles"
    assert shop.lexical(shop.corrected("kettel"), 5).rows.tolist() == shop.lexical("kettle", 5).rows.tolist()


def test_no_word_is_folded_that_is_longer_than_those_that_are_kept(tmp_path: Path) -> None:
    WordCounts().write(tmp_path, ["kettle"])
    words = Words(tmp_path, list((tmp_path / "words").iterdir()))
    assert [words.folded(letter * 39) for letter in "A"] == ["a" * 39]
    assert [words.folded(word) for word in ("a" * 40, "ä" * 40)] == ["", ""]


def test_a_title_weighs_more_than_a_description(shop: HybridRetriever) -> None:
    assert shop.lexical("kettle", 5).rows.tolist()[-1] == 4


RANKING = st.lists(st.integers(0, 40), unique=True, max_size=30).map(lambda rows: np.array(rows, np.uint32))


@given(st.lists(RANKING, max_size=4))
def test_fusing_keeps_every_row_once_in_falling_order(rankings: list[np.ndarray]) -> None:
    fused = fuse(rankings)
    assert len(set(fused.rows.tolist())) == len(fused.rows)
    assert set(fused.rows.tolist()) == {row for ranking in rankings for row in ranking.tolist()}
    assert (np.diff(fused.scores) <= 0).all()
    assert (fused.rows.dtype, fused.scores.dtype) == (np.uint32, np.float32)


@given(RANKING)
def test_one_ranking_stays_as_it_is(ranking: np.ndarray) -> None:
    assert fuse([ranking, np.empty(0, np.uint32)]).rows.tolist() == ranking.tolist()


@given(RANKING, RANKING)
def test_the_order_of_rankings_does_not_matter(first: np.ndarray, second: np.ndarray) -> None:
    np.testing.assert_array_equal(fuse([first, second]).rows, fuse([second, first]).rows)


def test_fusing_is_reciprocal_rank_fusion() -> None:
    fused = fuse([np.array([5, 3], np.uint32), np.array([3, 9], np.uint32)])
    assert fused.rows.tolist() == [3, 5, 9]
    np.testing.assert_allclose(fused.scores, [1 / 62 + 1 / 61, 1 / 61, 1 / 62], rtol=1e-6)
    assert fuse([np.array([4], np.uint32), np.array([2], np.uint32)]).rows.tolist() == [2, 4], "equal: by row id"


CHORUS = pytest.mark.skipif("MILLIRANK_CHORUS" not in os.environ, reason="MILLIRANK_CHORUS names no Chorus folder")


@CHORUS
def test_bm25_alone_on_chorus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import csv

    import pytrec_eval

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    import chorus

    folder = Path(os.environ["MILLIRANK_CHORUS"])
    ids = []
    with Bm25Writer(tmp_path / "bm25", "english") as writer:
        for row, product in enumerate(chorus.products(folder)):
            ids.append(product["id"])
            writer.add(row, product)
    judged: dict[str, dict[str, int]] = {}
    with (folder / "judgments.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            judged.setdefault(line["query"], {})[line["docid"]] = int(line["rating"])
    index = Bm25Index(list((tmp_path / "bm25").iterdir()), "english")
    run = {
        query: {ids[row]: 100.0 - place for place, row in enumerate(index.search(query, 100).rows)} for query in judged
    }
    scores = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(run)
    relevant = [query for query, grades in judged.items() if max(grades.values()) > 0]
    mean = sum(scores[query]["ndcg_cut_10"] if query in scores else 0.0 for query in relevant) / len(relevant)
    assert mean >= 0.70


@CHORUS
def test_misspelled_types_and_model_numbers_on_chorus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    import chorus

    products = list(chorus.products(Path(os.environ["MILLIRANK_CHORUS"])))
    counts, plain = WordCounts(), analyzer("words")
    with Bm25Writer(tmp_path / "bm25", "english") as writer:
        for row, product in enumerate(products):
            writer.add(row, product)
            counts.add(plain.analyze(text_of(product)), plain.analyze(other_text_of(product)))
    counts.write(tmp_path, [])
    index = Bm25Index(list((tmp_path / "bm25").iterdir()), "english")
    speller = Speller(Words(tmp_path, list((tmp_path / "words").iterdir())), index.finds, index.numbered)
    made = segments(products, count=200)
    ids = [product["id"] for product in products]
    right = {product: row for row, product in enumerate(ids)}

    def hits(query: str, grades: Mapping[str, int]) -> float:
        found = index.search(speller.corrected(query), 10).rows.tolist()
        return sum(row in {right[product] for product in grades} for row in found) / min(10, len(grades))

    misspelled = made["type-misspelled"]
    assert len(misspelled.judgments) >= 150
    wrong = np.mean([hits(query, grades) for query, grades in misspelled.judgments.items()])
    correct = np.mean([hits(misspelled.meant[query], grades) for query, grades in misspelled.judgments.items()])
    assert wrong >= 0.9 * correct > 0.4
    chance = np.random.default_rng(7)
    numbers = made["model-number"].judgments
    first = 0
    for query, grades in numbers.items():
        assert speller.corrected(query) == query
        near = chance.permutation(len(ids))[:100].astype(np.uint32)
        first += Fusion()(index.search(query, 100), near).rows[0] == right[next(iter(grades))]
    assert len(numbers) == 200
    assert first >= 0.99 * len(numbers)
