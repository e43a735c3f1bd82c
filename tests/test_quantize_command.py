"""`millirank engine build --precision int8`: sources, the gate over an index, and what is printed."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import orjson
import pytest
from catalog_kit import products, rows
from models import Tiny, calm, edit_json, write_model
from numpy.typing import NDArray
from rich.console import Console
from typer.testing import CliRunner

from millirank.catalog.ingest import Models, build_snapshot
from millirank.catalog.layout import CatalogFolder
from millirank.commands import quantized
from millirank.commands.accuracy import Accuracy
from millirank.commands.calibration import Texts
from millirank.commands.engine import app
from millirank.commands.scales import calibrated
from millirank.errors import ConfigError
from millirank.tokens import Tokenizer
from millirank_engines import FakeEngine, Profile, Task, Tensors, open_engine, read_manifest
from millirank_engines.build.compile import build_engine
from millirank_engines.build.quantize import gate
from millirank_engines.build.quantize.bits import multiplies_int8, weight_bits
from millirank_engines.build.quantize.data import pairs_data, pairs_of, random_sequences, sequences_data
from millirank_engines.build.quantize.gate import GateFailed, held_to
from millirank_engines.build.quantize.scales import FILE, Scales
from millirank_engines.build.quantize.shipped import scales_beside, shipped_int8
from millirank_engines.build.tensors import ModelRefused
from millirank_engines.device import Device, this_cpu
from millirank_engines.model import ENCODER, RERANKER

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")
PROFILES = "1x32,8x32,8x64"
DIGITS = str.maketrans("0123456789", "abcdefghij")
UNJUDGED = "ndcg@10=1"
LOSSES = f"top1=100,recall@100=100,cosine_p1=1,{UNJUDGED}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tiny models, and an index that they serve."""
    folder = tmp_path_factory.mktemp("shop")
    tasks: dict[str, Task] = {"encoder": "embed", "reranker": "rerank"}
    made = {name: calm(write_model(folder / f"shop-{name}", Tiny(task=task))) for name, task in tasks.items()}
    index = CatalogFolder(folder / "index")
    from millirank.commands.engine import profiles_of

    for name, task in tasks.items():
        build_engine(str(made[name]), index.engines / name, task=task, precision="fp32", profiles=profiles_of(PROFILES))
    encoder, reranker = (open_engine(index.engines / name) for name in tasks)
    tokenizers = [Tokenizer(one.tokenizer, one.spec) for one in (encoder, reranker)]
    worded = ({**one, "title": one["title"].translate(DIGITS)} for one in products(60))  # no model numbers
    numbered = ({**one, "id": f"n{one['id']}"} for one in products(12, seed=1))
    build_snapshot(index.root, rows([*worded, *numbered]), Models(encoder.engine, *tokenizers))
    for one in (encoder, reranker):
        one.engine.close()
    return {**made, "index": index.root}


def run(shop: dict[str, Path], out: Path, name: str, *more: object, code: int = 0) -> str:
    task = "embed" if name == "encoder" else "rerank"
    words = ["build", "--model", shop[name], "--task", task, "--out", out, "--profiles", PROFILES, *more]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def gated(shop: dict[str, Path], queries: int = 20) -> list[object]:
    return ["--gate", shop["index"], "--gate-queries", queries, "--gate-depth", 5, "--calibration-count", 40]


def test_an_encoder_is_calibrated_gated_and_shown(shop: dict[str, Path], tmp_path: Path) -> None:
    options = ["--precision", "int8", "--calibration", shop["index"], *gated(shop), "--allow-loss", LOSSES]
    said = run(shop, tmp_path / "e", "encoder", *options)
    assert "INT8 beside FP32" in said
    assert "kept in float" in said
    manifest = read_manifest(tmp_path / "e")
    assert [figure.name for figure in manifest.accuracy] == ["top1", "cosine_p1", "recall@100"]
    assert manifest.accuracy[0].count == 20
    assert manifest.accuracy[1].int8 > 0.9
    assert len(manifest.quantization["sensitivity"]) == 8
    assert "--calibration" in manifest.command
    assert "--gate-queries 20" in manifest.command
    assert (tmp_path / ".e.int8").is_dir()
    again = run(shop, tmp_path / "e", "encoder", *options)
    assert "nothing was built" in again
    scales = shutil.copyfile(tmp_path / "e" / "scales.safetensors", tmp_path / "other.safetensors")
    from_scales = ["--precision", "int8", "--calibration", scales]
    measured = LOSSES.removesuffix(f",{UNJUDGED}")
    made = Scales.read(scales)
    lossy = [{**figure, "int8": figure["fp32"] - 0.5, "limit": 1.0} for figure in made.about["gate"]]
    replace(made, about={**made.about, "gate": lossy}).write(scales)
    with pytest.raises(GateFailed, match=r"cosine_p1 1 → 0\.5 \(loses 0\.5, may lose 0\.01\) FAILED"):
        run(shop, tmp_path / "f", "encoder", *from_scales)
    assert "built" in run(shop, tmp_path / "f", "encoder", *from_scales, "--allow-loss", measured)


def test_a_reranker_is_gated_on_the_final_order(shop: dict[str, Path], tmp_path: Path) -> None:
    allowed = f"top1=100,kendall_tau=2,{UNJUDGED}"
    options = ["--precision", "auto", "--calibration", "random", *gated(shop), "--allow-loss", allowed]
    run(shop, tmp_path / "e", "reranker", *options)
    manifest = read_manifest(tmp_path / "e")
    assert [figure.name for figure in manifest.accuracy] == ["top1", "kendall_tau"]
    assert manifest.accuracy[1].count == 100
    assert manifest.choices or "left_out" in manifest.quantization


def test_a_gate_that_fails_shows_its_table_and_which_loss_would_have_to_be_allowed(
    shop: dict[str, Path], tmp_path: Path
) -> None:
    options = ["--precision", "int8", "--calibration", "random", *gated(shop)]
    options += ["--allow-loss", f"cosine_p1=0,top1=100,{UNJUDGED}"]
    words = ["build", "--model", shop["encoder"], "--task", "embed", "--out", tmp_path / "e", "--profiles", PROFILES]
    told = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(word) for word in (*words, *options)])
    with pytest.raises(GateFailed, match=r"cosine_p1 .* FAILED.*--allow-loss cosine_p1=") as caught:
        raise told.exception or AssertionError(told.output)
    assert not (tmp_path / "e").exists()
    rows = {line.split()[1]: line for line in told.output.splitlines() if line.startswith("│")}
    assert {name: "FAILED" in rows[name] for name in ("top1", "cosine_p1", "recall@100")} == {
        figure.name: not figure.passed for figure in caught.value.figures
    }
    assert "FAILED" in rows["cosine_p1"]


def test_traffic_is_read_with_the_products_that_it_names(shop: dict[str, Path], tmp_path: Path) -> None:
    traffic = tmp_path / "traffic.jsonl"
    traffic.write_bytes(b"\n".join(orjson.dumps({"query": "red lamp", "candidates": ["p1", "p2"]}) for _ in range(9)))
    loaded = read_manifest(shop["index"] / "engines" / "reranker")
    tokenizer = Tokenizer(shop["index"] / "engines" / "reranker" / "tokenizer.json", loaded.model)
    found = Texts(str(traffic), tokenizer, index=shop["index"], count=8)
    assert found.origin == "traffic"
    assert found.data().rows == 2  # nothing counts twice
    asked = [{"query": query, "candidates": ["p1", "p2"]} for query in ("red", "blue", "green", "red", "red")]
    traffic.write_bytes(b"\n".join(map(orjson.dumps, asked)))
    assert Texts(str(traffic), tokenizer, index=shop["index"], count=3).data().rows == 6  # three different queries
    with pytest.raises(ConfigError, match="name the index that they are in with --gate"):
        Texts(str(traffic), tokenizer, index=None, count=8).data()


@pytest.mark.parametrize(("name", "lengths"), [("encoder", [20]), ("reranker", [20, 22]), ("reranker", None)])
def test_an_engine_is_for_the_traffic_that_it_was_calibrated_on(
    shop: dict[str, Path], tmp_path: Path, name: str, lengths: list[int] | None
) -> None:
    asked = [{"query": f"red lamp {word}", "candidates": [f"p{n}", "p2"]} for n, word in enumerate("abcdefghijkl")]
    traffic = tmp_path / "traffic.jsonl"
    traffic.write_bytes(b"\n".join(orjson.dumps({**one, "lengths": lengths}) for one in asked))
    losses = {"encoder": LOSSES, "reranker": f"top1=100,kendall_tau=2,{UNJUDGED}"}[name]
    run(
        shop,
        tmp_path / "e",
        name,
        "--precision",
        "int8",
        "--calibration",
        traffic,
        *gated(shop),
        "--allow-loss",
        losses,
    )
    demand = read_manifest(tmp_path / "e").demand
    assert (demand and (demand.source, demand.requests)) == ((str(traffic), 12) if lengths else None)


@pytest.mark.parametrize("name", ["encoder", "reranker"])
def test_what_calibrates_is_not_held_back(shop: dict[str, Path], name: str) -> None:
    folder = shop["index"] / "engines" / name
    tokenizer = Tokenizer(folder / "tokenizer.json", read_manifest(folder).model)
    texts = Texts(str(shop["index"]), tokenizer, index=shop["index"], count=60)
    rows = [
        [
            bytes(part)
            for batch in half.batches
            for ids, kinds in zip(batch["input_ids"], batch["token_type_ids"], strict=True)
            for part in ((ids,) if name == "encoder" else (ids[kinds == 0], ids[kinds == 1]))
        ]
        for half in texts.halves()
    ]
    assert len(rows[0]) > len(rows[1]) > 9
    assert not set(rows[0]) & set(rows[1])


def test_options_that_cannot_be_are_refused_with_their_fix(shop: dict[str, Path], tmp_path: Path) -> None:
    out, unjudged = tmp_path / "e", ("--allow-loss", UNJUDGED)
    with pytest.raises(ConfigError, match="--gate is for --precision int8 or auto"):
        run(shop, out, "encoder", "--gate", shop["index"])
    with pytest.raises(ConfigError, match="INT8 needs ranges: name sampled traffic"):
        run(shop, out, "encoder", "--precision", "int8")
    with pytest.raises(ConfigError, match="sealed only after its gate: name an index"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "random")
    with pytest.raises(ConfigError, match="nothing to calibrate on at nowhere: name a folder"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "nowhere", *gated(shop), *unjudged)
    with pytest.raises(ConfigError, match=r"known-item queries, the gate asks 5000: .*--gate-queries"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "random", *gated(shop, 5000), *unjudged)
    with pytest.raises(ConfigError, match=r"keep their ndcg@10: name them with --judgments .*--allow-loss ndcg@10=1"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "random", *gated(shop))


# What the gate asks


def judge(shop: dict[str, Path], cache: Path, name: str = "reranker", **more: object) -> Accuracy:
    folder = shop["index"] / "engines" / name
    tokenizer = Tokenizer(folder / "tokenizer.json", read_manifest(folder).model)
    texts = random_sequences(8, tokenizer.spec, 10)
    pairs = [(query, product) for query in texts[:2] for product in texts[2:]]
    spec = tokenizer.spec
    held = pairs_data(pairs, spec, "x") if spec.task == "rerank" else sequences_data(texts, spec, "x")
    return Accuracy(shop["index"], tokenizer, held=held, cache=cache, **{"queries": 10, "depth": 5, **more})  # type: ignore[arg-type]


def test_what_the_gate_asks_is_in_the_key(shop: dict[str, Path], tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [{}, {"depth": 4}, {"queries": 8}, {"judged": {"red lamp": {"p1": 3}}}]
    found = []
    for change in changes:
        one = judge(shop, tmp_path, **change)
        found.append(orjson.dumps(one.asked(), option=orjson.OPT_SORT_KEYS))
        one.close()
    assert len(set(found)) == len(changes)
    encoder = read_manifest(shop["index"] / "engines" / "encoder")
    assert orjson.loads(found[0])["encoder"] == encoder.key
    same = judge(shop, tmp_path)
    assert orjson.dumps(same.asked(), option=orjson.OPT_SORT_KEYS) == found[0]
    same.close()


def test_known_items_are_queries_whose_answer_an_engine_can_change(shop: dict[str, Path], tmp_path: Path) -> None:
    asked = judge(shop, tmp_path, queries=80)
    orders = [asked._asked.retriever.lexical(query, 10) for query in asked._asked.searched]
    asked.close()
    assert [order.exact for order in orders] == [0] * 80
    with pytest.raises(ConfigError, match=r"has 1[012]\d known-item queries, the gate asks 140"):  # of 72 products
        judge(shop, tmp_path, queries=140)


def test_judgments_of_another_catalogue_are_refused(shop: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the products that --judgments call right is in .*leave them out"):
        judge(shop, tmp_path, judged={"red lamp": {"elsewhere": 3, "p1": 0}})
    asked = judge(shop, tmp_path, judged={"red lamp": {"p1": 3}, "sofa": {"elsewhere": 3}})
    assert list(asked._asked.judged) == ["red lamp"]
    asked.close()


def test_answers_of_fp32_are_asked_again_where_they_would_differ(
    shop: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(engine: FakeEngine, *, reverse: bool = False) -> int:
        asked = judge(shop, tmp_path)
        retriever = asked._asked.retriever
        dense = retriever.dense
        if reverse:
            monkeypatch.setattr(retriever, "dense", lambda vector, k: dense(-vector, k))
        asked(engine, FakeEngine(task="rerank"), lambda _: None)
        asked.close()
        return engine.calls

    def other(profiles: Sequence[Profile]) -> FakeEngine:
        return FakeEngine(task="rerank", profiles=profiles)

    assert calls(FakeEngine(task="rerank")) > 0
    assert calls(FakeEngine(task="rerank")) == 0
    assert calls(FakeEngine(task="rerank"), reverse=True) > 0
    assert calls(other([Profile(4, 96)])) > 0


class Counting(FakeEngine):
    """Scores a pair by its token ids; those of some queries the other way round."""

    def __init__(self, *turned: bytes) -> None:
        super().__init__(task="rerank")
        self._turned = turned

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        ids = feeds["input_ids"]
        score = (ids * np.arange(1, ids.shape[1] + 1)).sum(1).astype(np.float32) % 997
        turned = [row[1:].tobytes().startswith(self._turned) for row in ids]
        return {"score": np.where(turned, -score, score)}


def test_a_reranker_is_held_to_its_order_of_held_back_traffic(shop: dict[str, Path], tmp_path: Path) -> None:
    asked = judge(shop, tmp_path)
    end, pairs = np.int32(asked.spec.sep_id), pairs_of(asked._held, asked.spec)
    queries = {np.append(query, end).tobytes() for query, _ in pairs}
    assert (len(queries), len(pairs)) == (2, 12)
    alike = {figure.name: figure for figure in asked(Counting(), Counting(), print)}
    turned = {figure.name: figure for figure in asked(Counting(), Counting(*queries), print)}
    asked.close()
    assert alike["kendall_tau"].int8 == 1
    assert alike["kendall_tau"].count == turned["kendall_tau"].count > 12
    assert turned["kendall_tau"].int8 < 0.9
    assert not turned["kendall_tau"].passed
    assert turned["top1"] == alike["top1"]


@pytest.mark.parametrize(("depth", "compared"), [(10, False), (11, True)])
def test_the_first_ten_are_compared_where_they_can_differ(
    shop: dict[str, Path], tmp_path: Path, depth: int, *, compared: bool
) -> None:
    asked = judge(shop, tmp_path, depth=depth, judged={"red lamp": {"p1": 3}})
    found = {one.name: one for one in asked(FakeEngine(task="rerank"), FakeEngine(task="rerank"), print)}
    asked.close()
    assert found["ndcg@10"].agreement == (1 if compared else None)
    assert found["top1"].agreement == 1


def test_scales_that_were_gated_elsewhere_are_gated_again(shop: dict[str, Path], tmp_path: Path) -> None:
    hash_ = read_manifest(shop["index"] / "engines" / "encoder").model.hash
    gate = [{"name": "top1", "fp32": 80.0, "int8": 80.0, "limit": 0.3}]
    file = tmp_path / "x.safetensors"
    Scales({"encoder.layer.0.output.dense": 1.0}, about={"model": hash_, "gate": gate}).write(file)

    def int8(*features: str, **more: object) -> tuple[int, bool]:
        bits = weight_bits(Device("cpu", "x86_64", "old", features))
        with ExitStack() as opened:
            wish = quantized.Wish(str(file), **more)  # type: ignore[arg-type]
            made = quantized.int8_of(
                str(shop["encoder"]), "embed", bits, wish, tmp_path / "work", lambda _: None, opened
            )
            return made.scales.weight_bits, made.judge is not None

    assert int8("avx512_vnni") == (8, False)
    with pytest.raises(ConfigError, match=r"gated with weights of 8 bits, what is built for needs 7.*--gate"):
        int8("avx2")
    asking = {"gate": shop["index"], "queries": 10, "depth": 5, "count": 20, "allow_loss": UNJUDGED}
    assert int8("avx2", **asking) == (7, True)
    for more in ({"method": "mse"}, {"alpha": 0.5}):
        with pytest.raises(ConfigError, match=f"--{next(iter(more))} makes scales"):
            int8("avx512_vnni", **asking, **more)
    for name, value in (("count", 9), ("queries", 9), ("depth", 9), ("judgments", Path("j.csv"))):
        with pytest.raises(ConfigError, match=f"{name} is for a gate, and these scales bring their figures"):
            int8("avx512_vnni", **{name: value})


# Scales that ship


@pytest.fixture(scope="module")
def shipping(shop: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the encoder, with gated scales beside its weights."""
    folder = tmp_path_factory.mktemp("shipping") / "shop-encoder"
    shutil.copytree(shop["encoder"], folder)
    words = ["calibrate", "--model", folder, "--task", "embed", "--out", folder / FILE, "--calibration", shop["index"]]
    words += [*gated(shop), "--allow-loss", LOSSES]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "INT8 beside FP32" in result.output
    return folder


def test_scales_are_made_for_devices_that_multiply_int8_on_any_machine(shipping: Path) -> None:
    made = Scales.read(shipping / FILE)
    assert made.weight_bits == 8
    assert [figure["name"] for figure in made.about["gate"]] == ["top1", "cosine_p1", "recall@100"]
    assert made.about["gate"][1]["int8"] > 0.9


def test_what_loses_too_much_does_not_ship(shop: dict[str, Path], tmp_path: Path) -> None:
    wish = quantized.Wish(
        "random", shop["index"], queries=20, depth=5, count=40, allow_loss=f"cosine_p1=0,top1=100,{UNJUDGED}"
    )
    with pytest.raises(GateFailed, match="cosine_p1"):
        calibrated(str(shop["encoder"]), "embed", wish, tmp_path / FILE, tmp_path / "work", lambda _: None)
    assert not (tmp_path / FILE).exists()
    words = ["calibrate", "--model", shop["encoder"], "--task", "embed", "--out", tmp_path / "scales.json"]
    words += ["--calibration", "random", "--gate", shop["index"]]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert "name it scales.safetensors" in str(result.exception)


@pytest.mark.parametrize("model", [ENCODER, RERANKER])
def test_scales_that_ship_are_of_the_weights_that_ship(model: str) -> None:
    path = scales_beside(model)
    assert path is not None, f"{model} ships without scales: make them with `millirank engine calibrate`"
    found = shipped_int8(model, Device("cpu", "x86_64", "x", ("avx512_vnni",)))
    assert found is not None, f"{path} is of other weights: make it anew with `millirank engine calibrate`"
    assert all(figure.passed for figure in held_to(found.sealed(), {}))
    assert found.scales.weight_bits == 8
    assert next(figure.count for figure in found.sealed() if figure.name == "top1") >= 2000


def test_scales_beside_the_weights_are_used_where_int8_is_in_hardware(shipping: Path, shop: dict[str, Path]) -> None:
    old, new = (Device("cpu", "x86_64", "x", features) for features in (("avx2",), ("avx2", "avx_vnni")))
    found = shipped_int8(str(shipping), new)
    assert found is not None
    assert [figure.name for figure in found.sealed()] == ["top1", "cosine_p1", "recall@100"]
    assert shipped_int8(str(shipping), old) is None
    assert scales_beside(str(shop["encoder"])) is None
    assert shipped_int8(str(shop["encoder"]), new) is None
    edit_json(shipping / "config.json", layer_norm_eps=2e-12)  # other weights would do the same
    assert shipped_int8(str(shipping), new) is None
    edit_json(shipping / "config.json", layer_norm_eps=1e-12)
    assert shipped_int8(str(shipping), new) is not None


@pytest.mark.parametrize(
    ("int8_ms", "told"), [(0.5, "int8 in 19 of 19 profiles"), (2.0, "INT8 is left out, it is not")]
)
def test_an_index_builds_with_them_and_lets_the_clock_choose(
    shipping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, int8_ms: float, told: str
) -> None:
    from millirank.commands import index
    from millirank_engines.build.quantize import trial

    said = StringIO()
    console = Console(file=said, width=200)
    index.engine(tmp_path / "old", str(shipping), "", "embed", console).engine.close()
    assert read_manifest(tmp_path / "old").accuracy == ()
    assert "INT8" not in said.getvalue()
    monkeypatch.setattr(index, "this_cpu", lambda: Device("cpu", "x86_64", "new", ("avx2", "avx512_vnni")))
    monkeypatch.setattr(trial, "medians", lambda e, f, *_: {p: dict(zip(e, (1.0, int8_ms), strict=True)) for p in f})
    monkeypatch.setattr(gate, "LIMITS", dict.fromkeys(gate.LIMITS, 100.0))  # a tiny model loses much
    index.engine(tmp_path / "new", str(shipping), "", "embed", console).engine.close()
    manifest = read_manifest(tmp_path / "new")
    assert [figure.name for figure in manifest.accuracy] == ["top1", "cosine_p1", "recall@100"]
    assert len(manifest.choices) == len(manifest.profiles)
    assert ("int8" in manifest.precision) == (int8_ms < 1)
    assert f"shop-encoder: {told}" in said.getvalue()


@pytest.mark.parametrize("fault", ["the runtime fails", "the scales are damaged"])
def test_an_index_is_built_whatever_fails_in_int8(
    shipping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from millirank.commands import index
    from millirank_engines.build.quantize.trial import Trial

    def failing(*_: object) -> None:
        raise RuntimeError("no [such] instruction")

    model = shutil.copytree(shipping, tmp_path / "shop-encoder")
    if fault == "the runtime fails":
        monkeypatch.setattr(Trial, "settled", failing)
    else:
        (model / FILE).write_bytes(b"damaged")
    monkeypatch.setattr(index, "this_cpu", lambda: Device("cpu", "x86_64", "new", ("avx2", "avx512_vnni")))
    said = StringIO()
    console = Console(file=said, width=200)
    index.engine(tmp_path / "e", str(model), "", "embed", console).engine.close()
    assert "int8" not in read_manifest(tmp_path / "e").precision
    assert "INT8 is left out, it could not be built here: " in said.getvalue()
    assert fault != "the runtime fails" or "no [such] instruction" in said.getvalue()
    with pytest.raises(ModelRefused):
        index.engine(tmp_path / "none", str(tmp_path / "nothing"), "", "embed", console)
    assert said.getvalue().count("INT8 is left out") == 1


def test_a_build_without_calibration_takes_the_scales_that_ship(shipping: Path, tmp_path: Path) -> None:
    words = ["build", "--model", shipping, "--task", "embed", "--out", tmp_path / "e", "--precision", "int8"]
    words += ["--backend", "openvino", "--profiles", PROFILES, "--allow-loss", LOSSES.removesuffix(f",{UNJUDGED}")]
    result = CliRunner().invoke(app, [str(word) for word in words])
    if multiplies_int8(this_cpu()):
        assert result.exit_code == 0
    else:
        assert "was gated with weights of 8 bits" in str(result.exception)
