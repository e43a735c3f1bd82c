"""Pseudo-queries, candidates, the teacher, and the folder that they are written to."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from millirank.catalog.indexes import read_vectors, write_dense
from millirank.errors import CatalogError
from millirank.evaluation import fold, part_of
from millirank.mining import Models, Recipe, Source, mine, normal, without
from millirank.mining.facts import facts_of
from millirank.mining.lexical import K1, B, Bm25
from millirank.mining.queries import Drawn, pseudo_queries
from millirank.mining.teacher import best, candidates, z
from millirank_engines.base import EngineError
from millirank_engines.build.lists import JUDGED, TEACHER, Lists, Packed
from millirank_engines.model import Template

COLOURS = ["red", "green", "blue", "black", "white"]
KINDS = ["kettle", "toaster", "desk lamp", "office chair", "phone case"]
TITLES = [f"Acme {kind} {colour} {size} cm" for kind in KINDS for colour in COLOURS for size in (20, 30, 40)]
WORDS = sorted({word for title in TITLES for word in title.casefold().split()})
RECIPE = Recipe(queries=30, each=4, pool=8, right=2, wrong=2)


def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    counts = np.array([[text.casefold().split().count(word) for word in WORDS] for text in texts], np.float32)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def ids(texts: Sequence[str]) -> list[list[int]]:
    return [[10 + WORDS.index(word) for word in text.casefold().split() if word in WORDS] for text in texts]


MODELS = Models(vectors, vectors, ids, "0" * 64, "uint16", {"cls": 1, "sep": 2, "pad": 0}, "tiny")


def source(name: str = "shop") -> Source:
    products = [{"id": f"{name}{i}", "title": title, "brand": "Acme"} for i, title in enumerate(TITLES)]
    return Source(name, products, [f"{title} sturdy" for title in TITLES])


def drawn(held_out: Sequence[str] = (), *, evaluation: bool = False) -> list[str]:
    """Every n-gram of the titles that may be a query."""
    asked = Drawn(1000, held_out, evaluation, {"words": 1.0})
    return [q.text for q in pseudo_queries(TITLES, facts_of(source().products), asked, np.random.default_rng(0))]


def test_title_ngrams_are_shared_by_titles_and_name_something() -> None:
    both = [*drawn(), *drawn(evaluation=True)]
    assert "desk lamp" not in both  # in 15 of 75 titles: says too little
    assert "kettle red" in both
    assert not [q for q in both if q.split()[0] in {"20", "cm"} and len(q.split()) == 1]
    assert len(both) == len(set(both))
    assert all(sum(q in title.casefold() for title in TITLES) >= 2 for q in both)


def test_no_pseudo_query_is_held_out_in_any_spelling() -> None:
    kept, other = drawn()[0], drawn()[1]
    left = drawn([f"{kept.upper()}S", other.replace(" ", "  ")])
    assert left
    assert {normal(q) for q in left}.isdisjoint({normal(kept), normal(other)})
    assert kept in drawn()


def test_no_hash_decides_what_a_query_wants() -> None:
    script = """
import numpy as np
from millirank.mining.facts import Facts
from millirank.mining.queries import Drawn, pseudo_queries
facts = []
for word in "red old big new top dry hot wet raw far low odd".split():
    facts += [Facts(f"{word} hub", brand="acme", maker="acme"), Facts("hub", brand=word, maker=f"acme {word}")]
for query in pseudo_queries([], facts, Drawn(1000), np.random.default_rng(0)):
    print(query)
"""
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0].count("acme") > 12
    assert told[0] == told[1]


def test_bm25_is_the_formula() -> None:
    texts = ["red kettle", "red red chair with arms", "blue lamp"]
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (2 + 5 + 2) / 3
    expected = [idf * n * (K1 + 1) / (n + K1 * (1 - B + B * length / mean)) for n, length in ((1, 2), (2, 5), (0, 2))]
    np.testing.assert_allclose(Bm25(texts).scores("red reds unknown"), np.multiply(2, expected), rtol=1e-6)


def test_candidates_are_distinct_and_hold_the_best_of_both() -> None:
    rng = np.random.default_rng(3)
    bm25, dense = np.zeros(60, np.float32), rng.random(60, dtype=np.float32)
    bm25[[7, 9]] = 2, 3
    rows = candidates(bm25, dense, RECIPE, rng)
    assert len(set(rows.tolist())) == RECIPE.width
    assert {7, 9, *best(dense, 2).tolist()} <= set(rows.tolist())


def test_best_keeps_the_order_of_rows_where_scores_tie() -> None:
    assert best(np.array([1, 5, 5, 0, 5], np.float32), 2).tolist() == [1, 2]
    assert best(np.array([1, 5], np.float32), 9).tolist() == [1, 0]
    assert z(np.full(4, 2, np.float32)).tolist() == [0] * 4


def test_mining_makes_the_same_lists_again_and_reuses_them(tmp_path: Path) -> None:
    first, new = mine([source("a"), source("b")], MODELS, tmp_path / "one", recipe=RECIPE, hold_out=["kettle red"])
    assert new
    again, new = mine([source("a"), source("b")], MODELS, tmp_path / "one", recipe=RECIPE, hold_out=["kettle red"])
    assert not new
    other, _ = mine([source("a"), source("b")], MODELS, tmp_path / "two", recipe=RECIPE, hold_out=["kettle red"])
    for lists in (again, other):
        np.testing.assert_array_equal(lists.rows, first.rows)
        np.testing.assert_array_equal(lists.targets, first.targets)
    _, new = mine([source("a")], MODELS, tmp_path / "one", recipe=RECIPE, hold_out=["kettle red"])
    assert new


def test_lists_stay_within_their_catalogue_and_follow_the_teacher(tmp_path: Path) -> None:
    lists, _ = mine([source("a"), source("b")], MODELS, tmp_path, recipe=RECIPE)
    assert lists.rows.shape == (len(lists.query), RECIPE.width)
    np.testing.assert_array_equal(lists.rows // len(TITLES), np.repeat(lists.source[:, None], RECIPE.width, 1))
    assert lists.manifest["catalogues"][0]["pseudo_queries"] == (lists.source == 0).sum()
    spelt = [n for n, query in enumerate(lists.query) if len(lists.queries[query]) > 1]
    assert spelt
    for n in spelt:
        shared = [len(set(lists.queries[lists.query[n]]) & set(lists.products[row])) for row in lists.rows[n]]
        assert shared[int(lists.targets[n].argmax())] == max(shared)


def test_judged_lists_stand_behind_the_mined_ones(tmp_path: Path) -> None:
    judgments = {"kettle": {"a0": 3, "a20": 0, "gone": 2}, "lamp": {"a1": 1, "a2": 1}}
    lists, _ = mine([source("b"), source("a")], MODELS, tmp_path, recipe=RECIPE, judgments=judgments)
    assert lists.kind.tolist() == [TEACHER] * (len(lists.kind) - 1) + [JUDGED]  # those rated alike teach nothing
    n = len(TITLES)
    assert lists.rows[-1].tolist() == [n, n + 20] + [-1] * (RECIPE.width - 2)
    assert lists.targets[-1, :2].tolist() == [3, 0]
    assert lists.queries[lists.query[-1]].tolist() == ids(["kettle"])[0]
    with pytest.raises(CatalogError, match="check the ids"):
        mine([source("b")], MODELS, tmp_path, recipe=RECIPE, judgments={"kettle": {"x": 1}})


def test_folds_part_the_queries_whatever_their_spelling() -> None:
    judgments = {f"query {i}": {"a": 1} for i in range(20)}
    parts = [fold(judgments, part, 2) for part in (0, 1)]
    assert {**parts[0], **parts[1]} == judgments
    assert parts[0].keys().isdisjoint(parts[1])
    assert part_of("Phone  Cases", 7) == part_of("phone case", 7)
    with pytest.raises(CatalogError, match="part 5 of 5"):
        fold(judgments, 5, 5)
    unseen = fold(judgments, 1, 5)
    assert {**without(judgments, 1, 5), **unseen} == judgments
    assert unseen.keys().isdisjoint(without(judgments, 1, 5))


def test_a_template_reads_attributes_that_it_names() -> None:
    template = Template(fields=("title", "attributes.colour", "brand", "attributes.size"))
    product = {"title": "Kettle", "brand": "Acme", "attributes": {"colour": "red", "material": "steel"}}
    assert template.product_text(product) == "Kettle red Acme"
    assert template.product_text({"title": "Kettle"}) == "Kettle"


@pytest.mark.parametrize(("exact_up_to", "kept"), [(10, np.float16), (1000, np.float32)])
def test_vectors_come_back_from_an_index_of_either_kind(tmp_path: Path, exact_up_to: int, kept: type) -> None:
    made = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
    write_dense(made, made[:5], tmp_path / "dense.faiss", exact_up_to)
    np.testing.assert_array_equal(read_vectors(tmp_path / "dense.faiss"), made.astype(kept))
    (tmp_path / "other").write_bytes(b"none")
    with pytest.raises(CatalogError, match="millirank index"):
        read_vectors(tmp_path / "other")


def test_vectors_that_are_known_are_not_made_again(tmp_path: Path) -> None:
    def refuse(_: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError

    known = replace(source(), vectors=vectors(source().texts))
    lists, _ = mine([known], replace(MODELS, product_vectors=refuse), tmp_path / "known", recipe=RECIPE)
    same, _ = mine([source()], MODELS, tmp_path / "made", recipe=RECIPE)
    np.testing.assert_array_equal(lists.rows, same.rows)
    np.testing.assert_allclose(lists.targets, same.targets, atol=1e-4)


def test_a_catalogue_too_small_is_refused(tmp_path: Path) -> None:
    small = Source("small", [{"id": "1", "title": "kettle"}], ["kettle"])
    with pytest.raises(CatalogError, match="at least 16"):
        mine([small], MODELS, tmp_path, recipe=RECIPE)


def test_a_folder_without_lists_or_with_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--mine-only"):
        Lists.open(tmp_path)
    mine([source()], MODELS, tmp_path, recipe=RECIPE)
    changed = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**changed, "lists_sha256": "0"}))
    with pytest.raises(EngineError, match="not the file"):
        Lists.open(tmp_path)


def test_packed_sequences_come_back_cut_and_padded() -> None:
    packed = Packed.of([[5, 6, 7], [], [8]], 2, "uint16")
    matrix, lengths = packed.padded(3)
    assert matrix.tolist() == [[5, 6, 0], [0, 0, 0], [8, 0, 0]]
    assert lengths.tolist() == [2, 0, 1]
    assert [packed[i].tolist() for i in range(len(packed))] == [[5, 6], [], [8]]
    assert replace(packed).ids.dtype == np.uint16


def test_the_teacher_is_mixed_when_training(tmp_path: Path) -> None:
    lists, _ = mine([source()], MODELS, tmp_path, recipe=RECIPE, judgments={"kettle": {"shop0": 3, "shop20": 0}})
    assert lists.manifest["parts"] == ["dense", "bm25", "rule"]
    mined = lists.kind == TEACHER
    dense, bm25, rule = np.moveaxis(lists.parts[mined].astype(np.float32), 2, 0)
    np.testing.assert_allclose(lists.targets[mined], dense + 1.5 * bm25 + 1.5 * rule, atol=1e-5)
    np.testing.assert_allclose(dense.mean(1), 0, atol=1e-3)
    other = Lists.open(tmp_path).mixed({"rule": 2.0, "dense": 0.5})
    np.testing.assert_allclose(other.targets[mined], 0.5 * dense + 2 * rule, atol=1e-5)
    np.testing.assert_array_equal(other.targets[~mined], lists.targets[~mined])
    with pytest.raises(EngineError, match="is called clicks: mix dense, bm25, rule"):
        lists.mixed({"clicks": 1.0})
    with pytest.raises(EngineError, match="above 0"):
        lists.mixed({"dense": 0.0})


def test_folds_take_over_what_was_mined_without_judgments(tmp_path: Path) -> None:
    held = ["kettle", "lamp"]
    grades = {"kettle": {"shop0": 3, "shop20": 0}}
    mined, _ = mine([source()], MODELS, tmp_path / "mined", recipe=RECIPE, hold_out=held)
    anew, _ = mine([source()], MODELS, tmp_path / "anew", recipe=RECIPE, hold_out=held, judgments=grades)

    def refuse(_: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError

    idle = replace(MODELS, query_vectors=refuse, product_vectors=refuse)
    for like in ("mined", "anew"):
        where = tmp_path / f"like-{like}"
        taken, new = mine([source()], idle, where, recipe=RECIPE, hold_out=held, judgments=grades, like=tmp_path / like)
        assert new
        for name in ("query", "rows", "targets", "parts", "kind", "source"):
            np.testing.assert_array_equal(getattr(taken, name), getattr(anew, name))
        np.testing.assert_array_equal(taken.queries.ids, anew.queries.ids)
        assert taken.manifest["key"] == anew.manifest["key"] != mined.manifest["key"]
    with pytest.raises(AssertionError):  # other queries were held out
        mine([source()], idle, tmp_path / "new", recipe=RECIPE, judgments=grades, like=tmp_path / "mined")


def test_only_the_kinds_that_were_named_are_mined(tmp_path: Path) -> None:
    recipe = replace(RECIPE, kinds=("brand type", "words"))
    lists, _ = mine([source()], MODELS, tmp_path, recipe=recipe)
    assert set(lists.manifest["pseudo_queries"]) <= {"brand type", "words"}
    assert set(lists.manifest["kinds"]) == {"brand type", "words"}


def test_what_no_rule_knows_counts_as_neither_right_nor_wrong() -> None:
    assert z(np.array([3, np.nan, 0, 0], np.float32)).tolist() == pytest.approx([2**0.5, 0, -(0.5**0.5), -(0.5**0.5)])
    assert z(np.full(3, np.nan, np.float32)).tolist() == [0] * 3
    assert z(np.array([np.nan, 2], np.float32)).tolist() == [0] * 2
