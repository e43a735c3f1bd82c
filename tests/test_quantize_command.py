"""`millirank engine build --precision int8`: sources, the gate over an index, and what is printed."""

from pathlib import Path

import orjson
import pytest
from catalog_kit import products, rows
from models import Tiny, calm, write_model
from typer.testing import CliRunner

from millirank.catalog.ingest import Models, build_snapshot
from millirank.catalog.layout import CatalogFolder
from millirank.commands.calibration import Texts
from millirank.commands.engine import app
from millirank.errors import ConfigError
from millirank.tokens import Tokenizer
from millirank_engines import EngineError, Task, open_engine, read_manifest
from millirank_engines.build.compile import build_engine
from millirank_engines.build.quantize.gate import GateFailed

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")
PROFILES = "1x32,8x32,8x64"
LOSSES = "top1=100,recall@100=100,cosine_p1=1"


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
    build_snapshot(index.root, rows(products(60)), Models(encoder.engine, *tokenizers))
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
    scales = tmp_path / "e" / "scales.safetensors"
    assert "built" in run(shop, tmp_path / "f", "encoder", "--precision", "int8", "--calibration", scales)


def test_a_reranker_is_gated_on_the_final_order(shop: dict[str, Path], tmp_path: Path) -> None:
    allowed = "top1=100,kendall_tau=2"
    options = ["--precision", "auto", "--calibration", "random", *gated(shop), "--allow-loss", allowed]
    try:
        run(shop, tmp_path / "e", "reranker", *options)
    except EngineError as error:  # random weights: nothing of them need survive
        assert "every layer suffers from INT8" in str(error)  # noqa: PT017
        return
    manifest = read_manifest(tmp_path / "e")
    assert [figure.name for figure in manifest.accuracy] == ["top1", "kendall_tau"]
    assert manifest.accuracy[1].count == 100
    assert manifest.choices or "left_out" in manifest.quantization


def test_a_gate_that_fails_says_which_loss_would_have_to_be_allowed(shop: dict[str, Path], tmp_path: Path) -> None:
    options = ["--precision", "int8", "--calibration", "random", *gated(shop), "--allow-loss", "cosine_p1=0,top1=100"]
    with pytest.raises(GateFailed, match=r"cosine_p1 .* FAILED.*--allow-loss cosine_p1="):
        run(shop, tmp_path / "e", "encoder", *options)
    assert not (tmp_path / "e").exists()


def test_traffic_is_read_with_the_products_that_it_names(shop: dict[str, Path], tmp_path: Path) -> None:
    traffic = tmp_path / "traffic.jsonl"
    traffic.write_bytes(b"\n".join(orjson.dumps({"query": "red lamp", "candidates": ["p1", "p2"]}) for _ in range(9)))
    loaded = read_manifest(shop["index"] / "engines" / "reranker")
    tokenizer = Tokenizer(shop["index"] / "engines" / "reranker" / "tokenizer.json", loaded.model)
    found = Texts(str(traffic), tokenizer, index=shop["index"], count=8)
    assert found.origin == "traffic"
    assert found.data().rows == 16
    with pytest.raises(ConfigError, match="name the index that they are in with --gate"):
        Texts(str(traffic), tokenizer, index=None, count=8).data()


def test_options_that_cannot_be_are_refused_with_their_fix(shop: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "e"
    with pytest.raises(ConfigError, match="--gate is for --precision int8 or auto"):
        run(shop, out, "encoder", "--gate", shop["index"])
    with pytest.raises(ConfigError, match="INT8 needs ranges: name sampled traffic"):
        run(shop, out, "encoder", "--precision", "int8")
    with pytest.raises(ConfigError, match="sealed only after its gate: name an index"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "random")
    with pytest.raises(ConfigError, match="nothing to calibrate on at nowhere: name a folder"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "nowhere", *gated(shop))
    with pytest.raises(ConfigError, match=r"known-item queries, the gate asks 5000: .*--gate-queries"):
        run(shop, out, "encoder", "--precision", "int8", "--calibration", "random", *gated(shop, 5000))
