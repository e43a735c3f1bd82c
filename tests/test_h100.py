"""The scripts that measure on a GPU, on the fakes that ship."""

import gc
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from gpu_kit import gpu_engines, install

from millirank.loadtest.results import Row
from millirank_engines import FakeEngine, ModelSpec, Profile, pack_sequences, read_manifest
from millirank_engines.artifact import seal
from millirank_engines.build.bench import WARM
from millirank_engines.build.inspect import Layer, fusion_of
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.trtmodule import trt_logger

Script = Callable[[str], ModuleType]
SMALL, LARGE = Profile(1, 16), Profile(2, 32)
MINILM = ModelSpec("minilm", "embed", "", 384, 6, 384, 30522, 512, 101, 102, 0)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    return importlib.import_module


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    device = FakeCuda()
    install(device, monkeypatch.setattr, monkeypatch.setitem)
    yield device
    trt_logger.cache_clear()


class Told(FakeEngine):
    """Writes down whose shape ran."""

    def __init__(self, mark: str, told: list[str]) -> None:
        super().__init__()
        self.mark, self.told = mark, told

    def infer(self, feeds: object) -> dict[str, np.ndarray]:  # type: ignore[override]
        self.told.append(f"{self.mark}{feeds['input_ids'].shape[0]}")  # type: ignore[index]
        return super().infer(feeds)  # type: ignore[arg-type]


def test_engines_take_turns_and_every_shape_its_calls(script: Script) -> None:
    interleave, told = script("interleave"), []
    spec = FakeEngine().spec
    feeds = {p: pack_sequences([np.array([7, 8])] * p.batch, p, spec) for p in (SMALL, LARGE)}
    entrants = [
        interleave.Entrant("a", Told("a", told), feeds, 40),
        interleave.Entrant("b", Told("b", told), {SMALL: feeds[SMALL]}, 7),
    ]
    timings = dict.fromkeys(("a1", "a2", "b1"), 0)
    for how, timing in interleave.interleaved(entrants, spec, seconds=1.0):
        timings[f"{how}{timing.profile.batch}"] += len(timing.seconds)
        assert list(timing.seconds) == sorted(timing.seconds)
    assert timings == {"a1": 40, "a2": 40, "b1": 7}
    marks = "".join(mark[0] for mark in told)
    assert marks.count("ab") + marks.count("ba") >= interleave.TURNS  # nobody ran all at once
    alone = [mark for mark in told if mark[0] == "a"]
    assert "a1a2a1" in "".join(alone)
    assert "a2a1a2" in "".join(alone)  # shapes alternate within a turn


def test_in_a_row_nothing_else_runs_and_the_collector_comes_back(script: Script) -> None:
    interleave, enginerows, told = script("interleave"), script("enginerows"), []
    spec, subject = FakeEngine().spec, script("subjects").SUBJECTS[0]
    feeds = {p: pack_sequences([np.array([7, 8])] * p.batch, p, spec) for p in (SMALL, LARGE)}
    one = interleave.Entrant("fused", Told("a", told), feeds, 40)
    rows = list(enginerows.straight_rows(subject, [one], spec, feeds, 30))
    calls = 30 + WARM
    assert told == [f"a{SMALL.batch}"] * calls + [f"a{LARGE.batch}"] * calls
    assert gc.isenabled()
    assert {row.case for row in rows} == {f"minilm-encoder/embed/{p}/fp16/fused, in a row" for p in feeds}
    assert [row.value for row in rows if row.metric == "calls"] == [30, 30]
    assert {row.metric for row in rows} == set(enginerows.IN_A_ROW)


def test_slow_shapes_are_called_less_often_but_never_too_little(script: Script) -> None:
    interleave = script("interleave")
    engine = FakeEngine(delay=0.002)
    feeds = {SMALL: pack_sequences([np.array([7])], SMALL, engine.spec)}
    least = interleave.LEAST
    assert interleave.calls_of(interleave.Entrant("a", engine, feeds, 10_000), 0.001) == {SMALL: least}
    assert interleave.calls_of(interleave.Entrant("a", engine, feeds, 30), 0.001) == {SMALL: 30}
    found = interleave.calls_of(interleave.Entrant("a", engine, feeds, 10_000), 1.0)[SMALL]
    assert least < found < 600


def test_lengths_are_cut_into_calls_that_hold_them(script: Script) -> None:
    texts = script("chorus_texts")
    profiles = [Profile(1, 8), Profile(4, 8), Profile(2, 16)]
    lengths = [3, 4, 5, 6, 8, 9, 12, 16]
    cut = list(texts.chunks(lengths, profiles))
    assert [(str(profile), lengths[part]) for profile, part in cut] == [
        ("4x8", [3, 4, 5, 6]),
        ("4x8", [8]),
        ("2x16", [9, 12]),
        ("2x16", [16]),
    ]
    with pytest.raises(texts.EngineError, match="holds 17 tokens: add a longer bucket"):
        list(texts.chunks([17], profiles))


def test_a_target_is_told_from_its_rows(script: Script) -> None:
    targets = script("targets")
    rows = [
        Row("minilm-encoder/embed/1x16/fp16/graph", "p50", 0.153, "ms"),
        Row("minilm-encoder/embed/1x16/fp16/fused", "p50", 0.121, "ms"),
        Row("minilm-encoder/embed/1x16/fp16/torch-eager", "p50", 0.01, "ms"),
        Row("minilm-encoder/embed/1x16/fp16/graph", "p99/p50", 1.02, ""),
        Row("minilm-reranker/rerank/50x32/fp16/graph", "p99/p50", 1.3, ""),
        Row("minilm-reranker/rerank/50x32/fp16/fused", "p99/p50", 1.2, ""),
        Row("minilm-encoder/Chorus texts, graph", "products least cosine", 0.999612, ""),
    ]
    lines = {line.split(" | ")[0][2:]: line for line in targets.table(targets.ENGINES, rows)[3:]}
    assert "**0.121 ms** | fused: minilm-encoder/embed/1x16/fp16/fused |" in lines["MiniLM encode 1x16, p50"]
    assert (
        "| 1.2, missed | fused: minilm-reranker" in lines["p99 / p50, MiniLM, shapes by turns, worst"]
    )  # the best of the worst
    assert "**0.999612**" in lines["cosine with FP32, Chorus products, the least"]
    assert lines["MiniLM rerank 50x32, p50"].endswith("| ≤ 0.29 ms | not measured | |")
    assert targets.table((), rows) == []


def test_a_page_begins_with_what_was_to_be_reached(script: Script, tmp_path: Path) -> None:
    report, targets = script("report"), script("targets")
    rows = [Row("tensorrt/ranking", "top-10 overlap with torch-eager-fp32", 0.9955, "")]
    report.write("page", "Page", ["Notes."], rows, tmp_path, targets=targets.SERVICE)
    text = (tmp_path / "page.md").read_text()
    assert text.index("**0.9955**") < text.index("- machine:") < text.index("## tensorrt")
    assert json.loads((tmp_path / "page.json").read_text())["rows"][0]["value"] == 0.9955


def test_a_subjects_rows_come_from_all_that_was_built(
    script: Script, cuda: FakeCuda, tiny_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of, subjects, interleave = script("enginerows"), script("subjects"), script("interleave")
    monkeypatch.setattr(interleave, "LEAST", 1)
    made = gpu_engines(tiny_index, tmp_path / "made")
    for name, to in (("reranker", "minilm-reranker"), ("encoder", "minilm-reranker, unfinished")):
        (made / name).rename(tmp_path / to)
    manifest = read_manifest(tmp_path / "minilm-reranker")
    seal(tmp_path / "minilm-reranker", replace(manifest, profiles=manifest.profiles[:2]))
    shapes = tuple(map(str, manifest.profiles[:2]))
    subject = replace(subjects.SUBJECTS[1], compared=shapes)
    wanted = rows_of.Wanted(tmp_path, ("tensorrt", "fused"), (), 5, 0.001, 12, (), None, None)
    assert wanted.built(subject) == ("tensorrt",)  # fused is not there
    rows = list(rows_of.timed_rows(subject, wanted))
    hows = {row.case.rpartition("/")[2] for row in rows if row.metric == "p50"}
    assert hows == {"graph", "graph, all valid", "graph, in a row", "no graph"}
    assert f"minilm-reranker/rerank/{shapes[0]}/fp16/graph" in {row.case for row in rows}
    told = {(row.case, row.metric): row.value for row in rows_of.device_rows(subject, "tensorrt", wanted)}
    assert told["minilm-reranker/soak", "inferences"] == 12
    assert told["minilm-reranker/soak", "device memory taken (cudaMemGetInfo)"] == 0
    assert told[f"minilm-reranker/{shapes[0]}/launches/graph", "kernel nodes"] == 3
    assert cuda.open.get("stream") is None  # every engine was closed


def test_inputs_that_are_all_valid_keep_their_tokens(script: Script) -> None:
    feeds = pack_sequences([np.array([7, 8, 9]), np.array([5])], LARGE, MINILM)
    full = script("enginerows").filled(feeds, MINILM)
    valid = feeds["attention_mask"] == 1
    assert (full["input_ids"][valid] == feeds["input_ids"][valid]).all()
    assert full["attention_mask"].all()
    assert (full["input_ids"][~valid] >= 1000).all()


@pytest.mark.usefixtures("cuda")
def test_closeness_is_that_of_products_and_queries(script: Script, tiny_index: Path, tmp_path: Path) -> None:
    texts, subjects = script("chorus_texts"), script("subjects")
    loaded, engine = subjects.opened(gpu_engines(tiny_index, tmp_path / "made") / "encoder")
    catalog, judgments = tmp_path / "products.jsonl", tmp_path / "judgments.csv"
    catalog.write_text("".join(json.dumps({"id": str(i), "title": f"red kettle {i}"}) + "\n" for i in range(9)))
    judgments.write_text("query,docid,rating\nkettle,1,1\nkettle,2,0\nred,1,1\n")
    read = texts.read_texts(loaded, catalog, judgments)
    assert (len(read.products), len(read.queries)) == (9, 2)
    rows = list(texts.cosine_rows({"encoder/Chorus texts, graph": loaded}, engine, read))
    told = {row.metric: row.value for row in rows}
    assert (told["products"], told["queries"]) == (9, 2)
    assert told["products least cosine"] == pytest.approx(1, abs=1e-5)
    engine.close()


@pytest.mark.usefixtures("cuda")
def test_variants_are_timed_beside_the_default_and_may_fail_alone(
    script: Script,
    tiny_index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variants, subjects, interleave = script("buildvariants"), script("subjects"), script("interleave")
    monkeypatch.setattr(interleave, "LEAST", 1)
    folder = gpu_engines(tiny_index, tmp_path / "made") / "reranker"
    subject = replace(subjects.SUBJECTS[1], compared=(str(read_manifest(folder).profiles[0]),))

    def built(_subject: object, name: str, _work: Path) -> tuple[Path, float]:
        if name == "level 5":
            raise variants.EngineError("gave up")
        return folder, 1.5

    monkeypatch.setattr(variants, "_built", built)
    names = ("default", "level 5", "version-compatible")
    rows = list(variants.variant_rows(subject, names, tmp_path, 3, 0.001))
    assert {row.case for row in rows} == {f"minilm-reranker variants/{name}" for name in (names[0], names[2])}
    against = [row for row in rows if row.metric.endswith("against default")]
    assert [row.case for row in against] == ["minilm-reranker variants/version-compatible"]
    assert "gave up" in capsys.readouterr().err


def test_one_metric_of_all_shapes_is_a_table_of_systems(script: Script) -> None:
    overview = script("targets").overview
    rows = [
        Row("m/embed/1x16/fp16/graph", "p50", 0.15, "ms"),
        Row("m/embed/1x16/fp16/fused", "p50", 0.1234567, "ms"),
        Row("m/embed/8x16/fp16/fused", "p50", 0.2, "ms"),
        Row("m/embed/8x16/fp16/fused", "p99", 0.3, "ms"),
        Row("m/8x16/launches/fused", "p50", 9.0, ""),
    ]
    assert overview(rows, "p50") == [
        "",
        "| p50 (ms) | graph | fused |",
        "|---|---|---|",
        "| m embed 1x16 | 0.15 | 0.1235 |",
        "| m embed 8x16 |  | 0.2 |",
    ]
    assert overview(rows, "tflops") == []


def test_nothing_seen_is_not_few(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    profiled = script("profiled")
    feeds = {SMALL: {}}
    monkeypatch.setattr(profiled, "launches", lambda *_: (4.0, 1.0))
    assert [row.value for row in profiled.launch_rows("m", "fused", FakeEngine(), feeds)] == [4, 1]
    monkeypatch.setattr(profiled, "launches", lambda *_: (0.0, 0.0))
    with pytest.raises(profiled.EngineError, match="saw no kernel of fake/embed at 1x16"):
        list(profiled.launch_rows("m", "fused", FakeEngine(), feeds))


def test_a_process_that_breaks_at_its_end_has_answered(script: Script) -> None:
    apart = script("profiled").apart
    assert apart(eval, "__import__('atexit').register(__import__('os').abort) and 4") == 4
    with pytest.raises(RuntimeError, match="no GPU"):
        apart(exec, "raise RuntimeError('no GPU')")


@pytest.mark.usefixtures("cuda")
def test_launches_are_counted_of_engines_and_of_eager_pytorch(
    script: Script, tiny_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of, subjects = script("enginerows"), script("subjects")
    made = gpu_engines(tiny_index, tmp_path / "made")
    (made / "reranker").rename(tmp_path / "minilm-reranker")
    shapes = tuple(map(str, read_manifest(tmp_path / "minilm-reranker").profiles[:2]))
    subject = replace(subjects.SUBJECTS[1], compared=shapes, source=lambda _: "none")
    monkeypatch.setattr(rows_of, "SUBJECTS", (subject,))
    attached: list[bool] = []
    monkeypatch.setattr(rows_of, "attach", lambda: attached.append(True))
    monkeypatch.setattr(rows_of, "peer_engine", lambda *_: FakeEngine())
    kernels = {"tensorrt/fp16": 3.0, "fake/embed": 9.0}
    monkeypatch.setattr(script("profiled"), "launches", lambda engine, _: (kernels[engine.name], 1.0))
    wanted = rows_of.Wanted(tmp_path, ("tensorrt", "fused"), (), 5, 0.001, 12, (), None, None)
    rows = rows_of.profiled_rows("minilm-reranker", wanted)
    found = {row.case: row.value for row in rows if row.metric == "kernels"}
    told = (("graph", 3.0), ("torch-eager", 9.0))
    assert found == {f"minilm-reranker/{shape}/launches/{how}": value for how, value in told for shape in shapes}
    assert attached == [True]


def test_the_layers_of_a_plan_become_a_page(
    script: Script, tiny_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = script("h100_inspect")
    layers = [Layer("gemm", "gemm", ("a", "b"), "FP16", "sm90 | tall", 0.03), Layer("x" * 200, "kgen", (), "FP16", "")]
    nodes = [("a", "MatMul"), ("b", "Add"), ("c", "Constant")]
    monkeypatch.setattr(inspect, "nodes_of", lambda _: nodes)
    monkeypatch.setattr(inspect, "inspect_plan", lambda *_: fusion_of(layers, [name for name, _ in nodes]))
    folder = tiny_index / "engines" / "encoder"
    monkeypatch.setattr("sys.argv", ["h100_inspect.py", str(folder), "--buckets", "1x8", "--out", str(tmp_path)])
    inspect.main()
    page = (tmp_path / "h100-inspect.md").read_text()
    assert "| gemm | gemm | FP16 | 0.0300 | 100.0% | 2 | sm90 / tall |" in page
    assert "Before fusion 3 nodes: 1 MatMul, 1 Add, 1 Constant." in page
    assert "x" * 99 + "…" in page
    told = {row["metric"]: row["value"] for row in json.loads((tmp_path / "h100-inspect.json").read_text())["rows"]}
    assert (told["ONNX nodes"], told["layers"], told["nodes that no layer names"]) == (3, 2, 1)
    monkeypatch.setattr("sys.argv", ["h100_inspect.py", str(folder), "--buckets", "1x8,2x8"])
    with pytest.raises(SystemExit, match="2 shapes for 1 artifacts"):
        inspect.main()


def test_rankings_of_every_backend_are_compared_with_the_reference(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = script("h100_service")
    engines = {"tensorrt": Path("a"), "fused": Path("b")}
    load = service.Load(Path("index"), engines, ("q", "r"), (1.0,), 1.0, 1, 2, 3, ())
    found = {"torch-eager-fp32": [["1", "2"], ["3", "4"]], "tensorrt": [["2", "1"], ["3", "5"]]}
    monkeypatch.setattr(service, "rankings", lambda _, system: found.get(system, found["torch-eager-fp32"]))
    rows = list(service.overlap_rows(load, "torch-eager-fp32"))
    shares = {row.case: row.value for row in rows if row.metric.startswith("top-10")}
    assert shares == {"tensorrt/ranking": 0.75, "fused/ranking": 1.0}
    assert {row.value for row in rows if row.metric == "queries"} == {2}
    lines = script("targets").table(script("targets").SERVICE, rows)
    assert lines[-1].endswith("| **1** | fused: fused/ranking |")
