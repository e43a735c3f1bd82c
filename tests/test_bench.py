import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gpu_kit import gpu_engines, install
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank.commands.enginebench import bench_rows
from millirank.loadtest.results import Row
from millirank_engines import EngineError, FakeEngine, ModelSpec, Profile, pack_sequences, read_manifest
from millirank_engines.build.bench import WARM, bench_engine, peak_of, work_of
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.trtmodule import trt_logger

MINILM = ModelSpec("minilm", "embed", "", 384, 6, 384, 30522, 512, 101, 102, 0)
RERANKER = ModelSpec("minilm", "rerank", "", 1, 6, 384, 30522, 512, 101, 102, 0)


def test_operations_are_those_of_the_matrix_products() -> None:
    products = 16 * 6 * 2 * (4 * 384 * 384 + 2 * 384 * 1536)  # sixteen tokens through six layers
    attention = 6 * 2 * 2 * 16 * 16 * 384  # scores and their sum
    work = work_of(MINILM, Profile(1, 16), [16])
    assert work.done == work.valid == work.model == products + attention
    assert work_of(MINILM, Profile(3, 16), [16] * 3).done == 3 * work.done


def test_padding_is_done_but_not_valid() -> None:
    work = work_of(MINILM, Profile(2, 16), [4, 12])
    assert work.done == work_of(MINILM, Profile(2, 16), [16, 16]).done
    assert work.valid == work.model
    assert 0.48 < work.valid / work.done < 0.5  # half of the tokens, and less than half of the attention


def test_a_rerankers_last_layer_is_that_of_the_first_token() -> None:
    work = work_of(RERANKER, Profile(50, 32), [32] * 50)
    last = 2 * (2 * 384 * 384 * 32 + (2 * 384 * 384 + 2 * 384 * 1536)) + 2 * 2 * 32 * 384  # of one pair
    assert work.model == work_of(MINILM, Profile(50, 32), [32] * 50).model
    assert work.done == pytest.approx(work.model * 5 / 6 + 50 * last)
    assert 0.85 < work.done / work.model < 0.90


def test_peaks_are_known_by_name_and_precision() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3", "fp16") == 989.4
    assert peak_of("NVIDIA H100 PCIe", "fp16") == 756
    assert peak_of("NVIDIA L40S", "int8") == 724
    assert peak_of("NVIDIA L4", "fp16") == 121
    assert peak_of("AMD EPYC", "fp16") is None
    assert peak_of("NVIDIA H100 80GB HBM3", "fp32") is None


class Ordered(FakeEngine):
    """Remembers the shapes that ran."""

    shapes: list[tuple[int, ...]]

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # type: ignore[override]
        self.shapes.append(feeds["input_ids"].shape)
        return super().infer(feeds)


def test_every_round_runs_each_bucket_once_in_an_order_of_its_own() -> None:
    profiles = tuple(Profile(n, 16) for n in (1, 2, 4, 8))
    engine = Ordered(profiles=profiles)
    engine.shapes = []
    feeds = {p: pack_sequences([np.array([7, 8])], p, engine.spec) for p in profiles}
    timings = bench_engine(engine, engine.spec, feeds, replays=WARM + 30)
    rounds = [engine.shapes[i : i + 4] for i in range(0, len(engine.shapes), 4)]
    assert len(rounds) == WARM + WARM + 30
    assert all(sorted(one) == sorted((p.batch, p.length) for p in profiles) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 10
    for timing in timings:
        assert len(timing.seconds) == WARM + 30
        assert (np.diff(timing.seconds) >= 0).all()
        assert 0 < timing.quantile(0.5) <= timing.quantile(0.99) <= timing.quantile(0.999) == timing.seconds[-1]
        assert timing.rows == timing.profile.batch
    with pytest.raises(EngineError, match="name one or more of each"):
        bench_engine(engine, engine.spec, {}, replays=1)


@pytest.mark.parametrize(("name", "padded"), [("fused/fp16", False), ("tensorrt/fp16", True)])
def test_the_work_of_an_engine_is_what_it_computes(name: str, padded: bool) -> None:  # noqa: FBT001 - a parameter
    engine = Ordered(profiles=(Profile(2, 16),))
    engine.shapes, engine.name = [], name
    feeds = {Profile(2, 16): pack_sequences([np.array([7, 8])], Profile(2, 16), engine.spec)}
    (timing,) = bench_engine(engine, MINILM, feeds, replays=1)
    assert (timing.work.done > timing.work.valid) == padded


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_openvino_artifact_is_timed_too(tiny_index: Path, tmp_path: Path) -> None:
    folder, out = tiny_index / "engines" / "encoder", tmp_path / "deep" / "bench.json"
    said = run("bench", folder, "--replays", 3, "--profiles", "1x8,2x16", "--peak-tflops", 1, "--out", out)
    assert "of peak %" in said
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "commit", "date", "command", "rows"}
    precision = read_manifest(folder).precision
    cases = {row["case"] for row in found["rows"]}
    assert cases == {f"encoder/embed/{p}{precision}/openvino" for p in ("", "1x8/", "2x16/")}
    metrics = {row["metric"]: row["unit"] for row in found["rows"] if "1x8" in row["case"]}
    assert {"p50", "p99", "p99.9", "p99/p50", "sequences", "tflops", "tflops valid", "of peak"} <= set(metrics)
    assert (metrics["p50"], metrics["sequences"], metrics["of peak"]) == ("ms", "1/s", "%")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    device = FakeCuda()
    install(device, monkeypatch.setattr, monkeypatch.setitem)
    yield device
    trt_logger.cache_clear()


def test_a_gpus_engine_is_timed_with_graphs_and_without(cuda: FakeCuda, tiny_index: Path, tmp_path: Path) -> None:
    folder = gpu_engines(tiny_index, tmp_path / "engines") / "reranker"
    profiles = read_manifest(folder).profiles[:2]
    rows = list(bench_rows(folder, replays=2, profiles=profiles))
    cases = {f"reranker/rerank/{p}/fp16/{how}" for p in profiles for how in ("graph", "no graph")}
    assert {row.case for row in rows if row.metric == "p50"} == cases
    assert [row.metric for row in rows].count("load to ready") == 2
    assert {row.value for row in rows if row.metric == "calls"} == {2}
    only = list(bench_rows(folder, replays=1, profiles=profiles[:1], graphs=False, peak=100.0))
    assert {row.case.rpartition("/")[2] for row in only} == {"no graph"}
    assert cuda.open.get("stream") is None  # every engine was closed
    with pytest.raises(EngineError, match="has no reference for 3x3"):
        list(bench_rows(folder, replays=1, profiles=[Profile(3, 3)]))


def test_a_script_builds_each_shape_a_profile_of_its_own_and_compares_with_peers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    script = importlib.import_module("h100_engines")
    profiles = importlib.import_module("subjects").exact([Profile(50, 32), Profile(1, 16)])
    assert profiles.buckets == (Profile(1, 16), Profile(50, 32))
    held = [[b for b in profiles.buckets if one.holds(b)] for one in profiles.optimization]
    assert sorted(held) == [[Profile(1, 16)], [Profile(50, 32)]]
    rows = [
        Row("m/rerank/50x32/fp16/graph", "p50", 0.3, "ms"),
        Row("m/rerank/50x32/fp16/torch-eager", "p50", 3.6, "ms"),
        Row("m/50x32/launches/graph", "kernels", 53, ""),
        Row("m/50x32/launches/torch-eager", "kernels", 212, ""),
    ]
    found = {row.metric: row.value for row in script.speedups(rows, ["torch-eager", "torch-compile"])}
    assert found == {"against torch-eager": pytest.approx(12), "fewer kernels than torch eager": pytest.approx(75)}


def test_a_script_takes_names_that_it_knows_and_refuses_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    script = importlib.import_module("h100_engines")
    assert script.some_of(script.VARIANTS, ";")("level 5;graph plain") == ("level 5", "graph plain")
    assert script.some_of(script.PEERS)("") == ()
    monkeypatch.setattr(sys, "argv", ["h100_engines.py", "--work", "w", "--backend", "tensorrt,tpu"])
    with pytest.raises(SystemExit):
        script.main()
    assert "argument --backend: tpu is unknown: name some of tensorrt,fused" in capsys.readouterr().err


def test_a_peer_replaces_what_opens_artifacts_in_its_processes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    service = importlib.import_module("peers.service")
    monkeypatch.delenv(service.PEER, raising=False)
    code = "import millirank_engines as m; print(m.open_engine.__module__)"
    path = os.pathsep.join(sys.path)
    monkeypatch.setenv("PYTHONPATH", path)

    def opener() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    with service.served_by("torch-eager"):
        assert opener() == "peers.service"
    assert (os.environ.get(service.PEER), os.environ["PYTHONPATH"]) == (None, path)
    with service.served_by(""):
        assert opener() == "millirank_engines.load"
