"""How far traffic has drifted: the index, what engines are sealed with, the watch, the command, the alert."""

import json
import logging
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import Tiny, write_model
from test_metrics import DEPLOY, Page
from typer.testing import CliRunner

from millirank.cli import app
from millirank.commands.expect import expect_catalogue, expect_traffic
from millirank.metrics import Metrics
from millirank.tokens import Tokenizer
from millirank.traffic.lengths import histograms
from millirank.traffic.records import Asked, read_traffic
from millirank.traffic.watch import watch_of
from millirank_engines import EngineError, Manifest, read_manifest
from millirank_engines.build.verify import seal_demand
from millirank_engines.drift import (
    BUCKETS,
    CATALOGUE,
    EDGES,
    LEAST,
    THRESHOLD,
    LengthProfile,
    drift,
    length_profile,
    stability_index,
)

SHORT = ("red kettle", "lamp", "desk", "blue chair w1", "laptop w3 w4")
LONG = "a silver camera for the golden printer on the black desk and a white phone with grey speaker w1 w2 w3"


def shares(**of: float) -> tuple[float, ...]:
    return tuple(of.get(f"to_{bucket}", 0.0) for bucket in BUCKETS)


def test_the_index_is_the_one_of_the_textbook() -> None:
    then, now = shares(to_3=0.5, to_4=0.5), shares(to_3=0.9, to_4=0.1)
    exact = 0.4 * math.log(0.9 / 0.5) - 0.4 * math.log(0.1 / 0.5)
    assert stability_index(then, now, 10**9, 10**9) == pytest.approx(exact)
    assert stability_index(now, then, 10**9, 10**9) == pytest.approx(exact)
    assert stability_index(then, then, 10, 1000) == pytest.approx(0.0)
    apart = stability_index(shares(to_3=1.0), shares(to_4=1.0), 1000, 1000)
    assert THRESHOLD < apart < math.inf


def test_the_same_lengths_are_no_drift_and_others_are() -> None:
    dice = np.random.default_rng(1)
    then = length_profile("embed", dice.integers(3, 15, (1000, 1)), source="a")
    same = [drift(then, length_profile("embed", dice.integers(3, 15, (LEAST, 1)), source="b")) for _ in range(200)]
    assert max(one["lengths"] for one in same) < 0.15  # (12 - 1) (1/300 + 1/1000) is 0.05
    longer = length_profile("embed", dice.integers(8, 26, (LEAST, 1)), source="c")
    assert drift(then, longer)["lengths"] > THRESHOLD
    assert set(drift(then, longer)) == {"lengths"}


def test_lengths_are_counted_by_weight_and_depths_only_where_they_mean_something() -> None:
    made = length_profile("rerank", [[9, 10], [30], []], source="t", weights=[1.0, 2.0, 1.0])
    assert made == LengthProfile("t", 3, shares(to_10=0.5, to_32=0.5), shares(to_0=0.25, to_1=0.5, to_2=0.25))
    assert LengthProfile.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert length_profile("rerank", [[9]], source="t", depths=False).depths == ()
    nothing = length_profile("rerank", [[]], source="t")
    assert drift(made, nothing).keys() == {"depths"}
    assert LengthProfile.from_json(nothing.to_json()) == nothing
    assert tuple(sorted(set(EDGES))) == EDGES
    assert BUCKETS[-1] == "more"
    with pytest.raises(EngineError, match="no request"):
        length_profile("embed", [], source="t")
    with pytest.raises(EngineError, match=r"buckets of another version \(11\)"):
        LengthProfile.from_json({"source": "", "requests": 1, "lengths": {"11": 1.0}, "depths": {}})


@pytest.fixture
def index(tiny_index: Path, tmp_path: Path) -> Path:
    """A copy, whose engines a test may seal anew."""
    shutil.copytree(tiny_index, tmp_path / "index", symlinks=True)
    return tmp_path / "index"


def engine(index: Path, name: str) -> Manifest:
    return read_manifest(index / "engines" / name)


def write(path: Path, queries: Sequence[str], lengths: Sequence[int] = ()) -> Path:
    extra = {"lengths": list(lengths)} if lengths else {}
    path.write_text("".join(json.dumps({"query": q, "depth": len(lengths) or 8} | extra) + "\n" for q in queries))
    return path


def test_an_index_seals_its_catalogue_into_engines_that_know_nothing(index: Path) -> None:
    encoder, reranker = engine(index, "encoder"), engine(index, "reranker")
    assert encoder.demand is not None
    assert reranker.demand is not None
    assert (encoder.demand.source, reranker.demand.source) == (CATALOGUE, CATALOGUE)
    assert sum(encoder.demand.lengths) == pytest.approx(1, abs=1e-4)
    assert sum(reranker.demand.lengths) == pytest.approx(1, abs=1e-4)
    assert reranker.demand.depths == ()
    own = LengthProfile("mine", 1000, shares(to_8=1.0))
    seal_demand(index / "engines" / "encoder", own)
    expect_catalogue(index)
    assert engine(index, "encoder").demand == own
    assert engine(index, "encoder").key == encoder.key


def test_a_manifest_of_an_earlier_version_knows_nothing(index: Path) -> None:
    data = engine(index, "encoder").to_json()
    del data["demand"]
    assert Manifest.from_json(data).demand is None
    assert "demand" not in Manifest.from_json(data).to_json()


def test_a_build_is_sealed_with_the_traffic_that_it_is_for(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", Tiny(task="rerank"))
    words = ["engine", "build", "--model", str(model), "--task", "rerank", "--out", str(tmp_path / "out")]
    words += ["--profiles", "2x24", "--from"]
    told = CliRunner().invoke(app, [*words, str(write(tmp_path / "vague.jsonl", SHORT))])
    assert isinstance(told.exception, EngineError)
    assert "tells the lengths of its pairs" in str(told.exception)
    assert not (tmp_path / "out").exists()
    for lengths in ((9, 12), (30, 12)):
        path = write(tmp_path / "traffic.jsonl", SHORT, lengths)
        told = CliRunner().invoke(app, [*words, str(path)])
        assert told.exit_code == 0, told.output
        found = read_manifest(tmp_path / "out").demand
        wanted = length_profile("rerank", [lengths] * len(SHORT), source=str(path))
        assert found == wanted
    assert "nothing was built" in told.output  # other traffic is no reason to compile again


def stats(index: Path, traffic: Path) -> str:
    told = CliRunner(env={"COLUMNS": "300"}).invoke(
        app, ["traffic", "stats", "--from", str(traffic), "--index", str(index)]
    )
    assert told.exit_code == 0, told.output
    return told.output


def calibrate(index: Path, traffic: Path) -> None:
    for name in ("encoder", "reranker"):
        expect_traffic(index / "engines" / name, read_traffic(traffic, 8), traffic)


def test_long_descriptive_queries_after_calibration_on_short_ones_are_drift(index: Path, tmp_path: Path) -> None:
    dice = np.random.default_rng(4)
    short = write(tmp_path / "short.jsonl", dice.choice(SHORT, 1000).tolist(), (12, 14, 16))
    calibrate(index, short)
    same = write(tmp_path / "same.jsonl", dice.choice(SHORT, 400).tolist(), (12, 14, 16))
    long = write(tmp_path / "long.jsonl", [" ".join(LONG.split()[: 8 + n % 12]) for n in range(400)], (30, 32, 34))
    assert "no drift: no index is over 0.25" in stats(index, same)
    told = stats(index, long)
    assert "drifted: tokens of a query (" in told
    assert "tokens of a pair (" in told
    assert "candidates of a query (" not in told  # three, as before
    assert f"millirank engine profiles --from {long} --catalog {index} --out profiles.toml" in told
    for name in ("encoder", "reranker"):
        folder = index / "engines" / name
        command = engine(index, name).command
        assert f"{command} --profiles profiles.toml --from {long} --out {folder}" in told
    calibrate(index, long)
    assert "no drift" in stats(index, long)
    assert "drifted" in stats(index, short)


def test_an_engine_in_int8_is_to_be_calibrated_on_what_it_drifted_to(index: Path, tmp_path: Path) -> None:
    from millirank_engines.build.verify import reseal

    calibrate(index, write(tmp_path / "short.jsonl", SHORT * 100, (12, 14, 16)))
    for name in ("encoder", "reranker"):
        manifest = engine(index, name)
        words = "--precision auto --calibration old --gate 'old index' --method mse"
        command = re.sub(r"--precision \w+", words, manifest.command)
        reseal(index / "engines" / name, replace(manifest, command=command))
    long = write(tmp_path / "long.jsonl", [LONG] * 400, (30, 32, 34))
    told = stats(index, long)
    assert f"millirank segments --index {index} --out segments.csv" in told
    anew = f"--precision auto --method mse --calibration {long} --gate {index} --judgments segments.csv --profiles"
    assert told.count(anew) == 1  # no request names the products that a reranker would be calibrated on
    assert "--calibration old --gate 'old index'" in told
    lines = [json.dumps({"query": LONG, "candidates": ["p1"] * 3, "lengths": [30, 32, 34]}) for _ in range(400)]
    long.write_text("\n".join(lines), "utf-8")
    told = stats(index, long)
    assert told.count(anew) == 2
    assert "old" not in told


def test_stats_show_lengths_quantiles_and_what_is_not_known(index: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    write(tmp_path / "t" / "a.jsonl", ["lamp"] * 95 + ["red kettle"] * 4, (12, 14))
    (tmp_path / "t" / "b.jsonl").write_text('{"query": "blue chair w1", "lengths": [40], "weight": 901}\n')
    tokens = len(tokenizers(index)[0].query("blue chair w1")[0]) + 2
    told = stats(index, tmp_path / "t")
    assert "engine (catalogue)" in told
    assert "100 requests, a sample of 1,000" in told
    assert re.search(rf"tokens of a query +│ {tokens} +│ {tokens} +│ {tokens} ", told)  # most stand behind that one
    assert re.search(r"candidates of a query +│ 1 +│ 2 +│ 2 ", told)
    assert "█" * 36 in told
    assert f"100 requests are too few to tell drift: {LEAST} or more do" in told
    encoder = engine(index, "encoder").to_json()
    from millirank_engines.build.verify import reseal

    del encoder["demand"]
    reseal(index / "engines" / "encoder", Manifest.from_json(encoder))
    assert "encoder does not say what it is for: run `millirank index` again" in stats(index, tmp_path / "t")


def tokenizers(index: Path) -> list[Tokenizer]:
    folders = [index / "engines" / name for name in ("encoder", "reranker")]
    return [Tokenizer(folder / "tokenizer.json", read_manifest(folder).model) for folder in folders]


def asked(queries: Sequence[str], lengths: tuple[int, ...]) -> list[Asked]:
    return [Asked(query, len(lengths), lengths, None) for query in queries]


def test_a_server_tells_drift_as_a_gauge_and_once_in_its_log(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    short = asked(SHORT * 100, (12, 14, 16))
    for name, tokenizer in zip(("encoder", "reranker"), tokenizers(index), strict=True):
        seal_demand(index / "engines" / name, histograms(short, tokenizer, source="short"))
    metrics = Metrics("frontend-0")
    watch = watch_of([engine(index, name) for name in ("encoder", "reranker")], tokenizers(index), metrics)
    watch.look(short[: LEAST - 1], 9000)
    page = Page(metrics)
    assert page("traffic_population", process="frontend-0") == 9000
    assert page("traffic_drift_index", lengths="query", process="frontend-0") is None
    with caplog.at_level(logging.WARNING):
        watch.look(short, 9001)
        assert not caplog.records
        for _ in range(3):
            watch.look(asked([LONG] * LEAST, (12, 14, 16)), 9002)
    [warning] = caplog.records
    assert "the query lengths that come have a stability index of" in warning.getMessage()
    page = Page(metrics)
    found = {of: page("traffic_drift_index", lengths=of, process="frontend-0") for of in ("query", "pair", "depth")}
    assert found["query"] is not None
    assert found["query"] > THRESHOLD
    assert found["pair"] == pytest.approx(0, abs=0.01)
    assert found["depth"] == pytest.approx(0, abs=0.01)
    watch.forget()
    page = Page(metrics)
    assert page("traffic_population", process="frontend-0") == 0
    assert {page("traffic_drift_index", lengths=of, process="frontend-0") for of in found} == {0.0}


def test_the_gauges_of_processes_stand_beside_each_other_and_go_with_them() -> None:
    parent = Metrics("supervisor")
    for name, index in (("frontend-0", 0.5), ("frontend-1", 0.125)):
        child = Metrics()
        child.drifted("pair", index)
        child.sampled(10)
        parent.merge(name, child.deltas())
    page = Page(parent)
    assert page("traffic_drift_index", lengths="pair", process="frontend-0") == 0.5
    assert page("traffic_drift_index", lengths="pair", process="frontend-1") == 0.125
    parent.forget("frontend-0")
    page = Page(parent)
    assert page("traffic_drift_index", lengths="pair", process="frontend-0") is None
    assert page("traffic_population", process="frontend-0") is None
    assert page("traffic_drift_index", lengths="pair", process="frontend-1") == 0.125


ALERT = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'millirank_traffic_drift_index{{instance="a",lengths="query",process="f-0"}}', values: '0.3x120'}}
      - {{series: 'millirank_traffic_drift_index{{instance="a",lengths="query",process="f-1"}}', values: '0.5x120'}}
      - {{series: 'millirank_traffic_drift_index{{instance="a",lengths="pair",process="f-0"}}', values: '0.1x120'}}
      - {{series: 'millirank_traffic_drift_index{{instance="a",lengths="pair",process="f-1"}}', values: '5x120'}}
      - {{series: 'millirank_traffic_population{{instance="a",process="f-0"}}', values: '9900x120'}}
      - {{series: 'millirank_traffic_population{{instance="a",process="f-1"}}', values: '100x120'}}
      - {{series: 'millirank_traffic_population{{instance="a",process="f-2"}}', values: '99999x120'}}
    promql_expr_test:
      - expr: 'round(instance_lengths:millirank_traffic_drift_index:mean, 0.001)'
        eval_time: 30m
        exp_samples:
          - {{labels: '{{instance="a",lengths="query"}}', value: 0.302}}
          - {{labels: '{{instance="a",lengths="pair"}}', value: 0.149}}
      - {{expr: 'ALERTS{{alertname="MillirankTrafficDrifted",alertstate="firing"}}', eval_time: 30m, exp_samples: []}}
      - expr: 'count by (lengths) (ALERTS{{alertname="MillirankTrafficDrifted",alertstate="firing"}})'
        eval_time: 90m
        exp_samples: [{{labels: '{{lengths="query"}}', value: 1}}]
"""


def test_the_alert_weighs_processes_by_what_they_serve(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is missing: install prometheus (Debian: apt-get install prometheus)")
    test = tmp_path / "alert.yml"
    test.write_text(ALERT.format(rules=DEPLOY / "millirank.rules.yml"), encoding="utf-8")
    done = subprocess.run([tool, "test", "rules", str(test)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
