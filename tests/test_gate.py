"""The order may not get worse unnoticed: nDCG@10 against tests/data/relevance.json, on the demo's shop and on Chorus.

After a change that is meant to move the figures: pytest tests/test_gate.py --renew-relevance, and the commit says why.
The demo is a quarter of its products, because indexing all takes a minute, and every query that keeps a right one,
reranked at depth 10; Chorus is the fifth of its queries that a hash chooses, at depth 50.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson
import pytest
from chorus_kit import DEPTH as CHORUS_DEPTH
from chorus_kit import FIGURES, ChorusShop

from millirank.commands.index import index
from millirank.commands.orders import rankings
from millirank.config import Settings
from millirank.demo import judgments, products
from millirank.errors import ConfigError
from millirank.evaluation import Judgments, Run, Scores, fold, score
from millirank.evaluation.gate import MEASURE, Baseline, Key, hashed, told
from millirank.stack import Stack

BASELINE = Path(__file__).parent / "data" / "relevance.json"
DEPTH = 10  # of the demo
GATED = ("fused", "reranked")  # what a shopper sees first and last
QUARTERS, FIFTHS = 4, 5
needs_chorus = pytest.mark.skipif(
    "MILLIRANK_CHORUS" not in os.environ, reason="MILLIRANK_CHORUS does not name the data's folder"
)


def kept(product: str) -> bool:
    return hashlib.sha256(product.encode()).digest()[0] % QUARTERS == 0


@pytest.fixture(scope="module")
def judged() -> Judgments:
    grades: dict[str, dict[str, int]] = {}
    for query, product, grade in judgments():
        if kept(product):
            grades.setdefault(query, {})[product] = grade
    return {query: found for query, found in grades.items() if any(found.values())}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, default_engines: Path, judged: Judgments) -> Mapping[str, Run]:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "index").mkdir()
    (folder / "index" / "engines").symlink_to(default_engines)
    catalog = folder / "products.jsonl"
    catalog.write_bytes(b"\n".join(orjson.dumps(product) for product in products() if kept(product["id"])))
    index(catalog=catalog, out=folder / "index")
    stack = Stack(Settings(index=folder / "index", sla_ms=0, rerank_depth=DEPTH), background=False)
    try:
        return asyncio.run(rankings(stack, tuple(judged)))
    finally:
        stack.close()


@pytest.fixture(scope="module")
def scores(runs: Mapping[str, Run], judged: Judgments) -> dict[str, Scores]:
    return {order: score(runs[order], judged) for order in GATED}


def hold(request: pytest.FixtureRequest, name: str, scores: Mapping[str, Scores], key: Key = str) -> None:
    """Compares with the baseline, or renews it, and prints the figures at the end of the run."""
    baseline = Baseline.read(BASELINE)
    if request.config.getoption("--renew-relevance"):
        baseline = baseline.renewed(name, scores, key)
        baseline.write(BASELINE)
    found = baseline.compared(name, scores, key)
    request.config.stash[FIGURES] += [told(name, order, scores[order], one) for order, one in found.items()]
    fell = [order for order, one in found.items() if one.fell]
    lost = {order: found[order].losses[:5] for order in fell}
    assert not fell, f"worse than {BASELINE.name} by more than noise: {lost}; --renew-relevance accepts it on purpose"


def test_the_order_of_the_demo_did_not_get_worse(request: pytest.FixtureRequest, scores: dict[str, Scores]) -> None:
    assert len(scores["fused"].queries) >= 100
    hold(request, f"demo at depth {DEPTH}", scores)


@needs_chorus
def test_the_order_of_chorus_did_not_get_worse(
    request: pytest.FixtureRequest, chorus: ChorusShop, chorus_scores: dict[str, Scores]
) -> None:
    part = fold(chorus.judgments, 0, FIFTHS)
    scores = {order: chorus_scores[order].of(list(part)) for order in GATED}
    hold(request, f"Chorus at depth {CHORUS_DEPTH}", scores, hashed)


def test_a_worse_order_shuts_the_gate_and_the_same_does_not(
    runs: Mapping[str, Run], judged: Judgments, scores: dict[str, Scores]
) -> None:
    baseline = Baseline({}).renewed("demo", scores)
    assert not any(found.fell for found in baseline.compared("demo", scores).values())
    worse = {query: [*found[5:10], *found[:5]] for query, found in runs["reranked"].items()}
    found = baseline.compared("demo", {"fused": scores["fused"], "reranked": score(worse, judged)})
    assert found["reranked"].fell
    assert found["reranked"].p < 0.05
    assert not found["fused"].fell


def of(values: list[float]) -> dict[str, Scores]:
    queries = tuple(f"query {number}" for number in range(len(values)))
    return {"fused": Scores(queries, {MEASURE: np.array(values)})}


def test_noise_does_not_shut_the_gate() -> None:
    baseline = Baseline({}).renewed("shop", of([0.5] * 50))
    swung = baseline.compared("shop", of([0.3, 0.7] * 25))["fused"]
    one_lost = baseline.compared("shop", of([0.0] + [0.5] * 49))["fused"]
    better = baseline.compared("shop", of([0.6] * 50))["fused"]
    a_little_everywhere = baseline.compared("shop", of([0.49] * 50))["fused"]
    assert [found.fell for found in (swung, one_lost, better, a_little_everywhere)] == [False, False, False, True]


def test_a_baseline_comes_back_from_its_file_without_the_text_of_hashed_queries(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert Baseline.read(file) == Baseline({})
    baseline = Baseline({}).renewed("open", of([0.25, 0.5])).renewed("closed", of([1.0]), hashed)
    baseline.write(file)
    assert Baseline.read(file) == baseline
    assert file.read_text("utf-8").count("query ") == 2
    assert hashed("Phone  Cases") == hashed("phone case") != hashed("phone")


def test_a_baseline_of_other_queries_is_refused(tmp_path: Path) -> None:
    baseline = Baseline({}).renewed("shop", of([0.5, 0.5]))
    with pytest.raises(ConfigError, match="of other queries: renew it"):
        baseline.compared("shop", of([0.5]))
    (tmp_path / "broken.json").write_text("[1]")
    with pytest.raises(ConfigError, match="no baseline"):
        Baseline.read(tmp_path / "broken.json")


def test_queries_of_one_name_count_alike() -> None:
    scores = {"fused": Scores(("Lamp", "lamps", "desk"), {MEASURE: np.array([1.0, 0.5, 0.25])})}
    baseline = Baseline({}).renewed("shop", scores, hashed)
    assert baseline.sets["shop"]["fused"] == {hashed("lamp"): 0.75, hashed("desk"): 0.25}
    turned = {"fused": scores["fused"].of(["lamps", "desk", "Lamp"])}
    assert baseline.compared("shop", turned, hashed)["fused"].difference == 0
