import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_reference import CASES, REFERENCE, reference
from models import PAIRS, TEXTS, Tiny, edit_json, write_json, write_model
from numpy.typing import NDArray

from millirank_engines.base import EngineError, Profile, Tensors
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.graph import Form
from millirank_engines.build.tensors import WORDS, ModelRefused
from millirank_engines.model import ENCODER, ModelSpec, Template
from millirank_engines.pack import pack_pairs, pack_sequences, pair_length

TOLERANCE = 1e-4
# float16 keeps 11 bits: the largest difference of a coordinate of a unit vector, and of a logit of about 1
HALF_EMBEDDING, HALF_SCORE = 3e-3, 1e-2

Run = Callable[[Path, Tensors], NDArray[np.float32]]


def run_in_openvino(model: Path, feeds: Tensors) -> NDArray[np.float32]:
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(dict(feeds))[0])


def run_in_onnx(model: Path, feeds: Tensors) -> NDArray[np.float32]:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(str(model)).run(None, dict(feeds))[0])


RUNTIMES = pytest.mark.parametrize("run", [run_in_openvino, run_in_onnx])


def tokens(export: Export, texts: tuple[str, ...]) -> list[NDArray[np.int32]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(export.folder / "tokenizer.json"))
    return [np.array(e.ids, np.int32) for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def packed(export: Export, rows: slice = slice(None), extra: int = 0) -> Tensors:
    """TEXTS or PAIRS as the service packs them, padded by extra tokens more than the longest needs."""
    spec = export.spec
    if spec.task == "embed":
        texts = tokens(export, TEXTS)[rows]
        return pack_sequences(texts, Profile(len(texts), max(map(len, texts)) + 2 + extra), spec)
    queries, products = (tokens(export, column)[rows] for column in zip(*PAIRS, strict=True))
    length = max(pair_length(len(q), len(p), spec) for q, p in zip(queries, products, strict=True))
    return pack_pairs(queries, products, Profile(len(queries), length + extra), spec)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: write_model(root / name, tiny) for name, tiny in CASES.items()}


@pytest.fixture(scope="module")
def exports(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    root = tmp_path_factory.mktemp("exports")
    made = {name: export_model(str(folders[name]), root / name, task=tiny.task) for name, tiny in CASES.items()}
    return {**made, "minilm": export_model(ENCODER, root / "minilm", task="embed")}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_model(tmp_path / "bert", Tiny("bert"))


@RUNTIMES
@pytest.mark.parametrize("name", ["minilm", *CASES])
def test_equals_what_transformers_computed(name: str, run: Run, exports: dict[str, Export]) -> None:
    found, stored = run(exports[name].folder / "model.onnx", packed(exports[name])), np.load(REFERENCE)[name]
    assert found.dtype == np.float32
    assert found.shape == stored.shape
    assert np.abs(found - stored).max() < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_equals_transformers_here(name: str, folders: dict[str, Path], exports: dict[str, Export]) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    found = run_in_openvino(exports[name].folder / "model.onnx", packed(exports[name]))
    assert np.abs(found - reference(name, folders[name])).max() < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_near(
    name: str, folders: dict[str, Path], exports: dict[str, Export], tmp_path: Path
) -> None:
    import onnx

    half = export_model(str(folders[name]), tmp_path, task=CASES[name].task, precision="fp16")
    model = onnx.load(tmp_path / "model.onnx")
    wide = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert all("LayerNorm" in n or "classifier" in n or n == "pooling/floor" for n in wide)
    assert half.spec == exports[name].spec
    stored = np.load(REFERENCE)[name]
    for run in (run_in_openvino, run_in_onnx):
        found = run(tmp_path / "model.onnx", packed(half))
        assert found.dtype == np.float32
        assert np.abs(found - stored).max() < (HALF_EMBEDDING if half.spec.task == "embed" else HALF_SCORE)


@pytest.mark.parametrize("name", CASES)
def test_padding_and_company_change_nothing(name: str, exports: dict[str, Export]) -> None:
    export = exports[name]
    model = export.folder / "model.onnx"
    together = run_in_openvino(model, packed(export))
    assert np.abs(run_in_openvino(model, packed(export, extra=9)) - together).max() < 1e-5
    for row in range(0, len(TEXTS), 3):
        alone = run_in_openvino(model, packed(export, slice(row, row + 1)))
        assert np.abs(alone[0] - together[row]).max() < 1e-5


@pytest.mark.parametrize("name", ["minilm", "bert-mean", "bert-cls", "roberta-cls", "xlmr-mean"])
def test_embeddings_have_unit_length(name: str, exports: dict[str, Export]) -> None:
    found = run_in_openvino(exports[name].folder / "model.onnx", packed(exports[name]))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


def test_special_tokens_alone_are_a_valid_row(exports: dict[str, Export]) -> None:
    export = exports["xlmr-mean"]
    found = run_in_openvino(export.folder / "model.onnx", pack_sequences([], Profile(2, 8), export.spec))
    assert np.isfinite(found).all()
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("name", ["minilm", *CASES])
def test_the_graph_is_valid_and_holds_every_weight_once(name: str, exports: dict[str, Export]) -> None:
    import onnx

    model = onnx.load(exports[name].folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    values = [t.raw_data for t in model.graph.initializer if len(t.raw_data) > 64]
    assert len(values) == len(set(values))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    assert [i.name for i in model.graph.input] == (names if exports[name].spec.type_ids else names[:2])
    assert all(i.type.tensor_type.elem_type == onnx.TensorProto.INT32 for i in model.graph.input)


def test_the_same_source_gives_the_same_bytes(bert: Path, tmp_path: Path) -> None:
    first, second = (export_model(str(bert), tmp_path / name, task="embed") for name in ("a", "b"))
    for name in ("model.onnx", "tokenizer.json", "model.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert first.inputs == second.inputs


def test_the_specs_say_what_the_models_are(exports: dict[str, Export]) -> None:
    minilm, roberta, reranker = (exports[name].spec for name in ("minilm", "roberta-mean", "bert-rerank"))
    assert (minilm.name, minilm.dim, minilm.layers, minilm.max_length) == (ENCODER, 384, 6, 256)
    assert (minilm.cls_id, minilm.sep_id, minilm.pad_id, minilm.pair_separators) == (101, 102, 0, 1)
    assert (roberta.cls_id, roberta.sep_id, roberta.pad_id, roberta.pair_separators) == (0, 2, 1, 2)
    assert (minilm.type_ids, roberta.type_ids, reranker.dim) == (True, False, 1)
    assert roberta.max_length == 250  # the tokenizer's; the position table would hold 256
    for export in exports.values():
        assert ModelSpec.from_json(json.loads((export.folder / "model.json").read_bytes())) == export.spec


def test_the_position_table_bounds_the_length(bert: Path, tmp_path: Path) -> None:
    edit_json(bert / "tokenizer_config.json", model_max_length=10**30)
    assert export_model(str(bert), tmp_path / "a", task="embed").spec.max_length == 258
    write_json(bert / "sentence_bert_config.json", {"max_seq_length": 40})
    assert export_model(str(bert), tmp_path / "b", task="embed").spec.max_length == 40


def test_the_tokenizer_neither_cuts_nor_pads(exports: dict[str, Export]) -> None:
    for export in exports.values():
        written = json.loads((export.folder / "tokenizer.json").read_bytes())
        assert (written["truncation"], written["padding"]) == (None, None)


def test_the_hash_follows_what_scores_depend_on(bert: Path, tmp_path: Path) -> None:
    def hashed(**options: Any) -> str:
        return export_model(str(bert), tmp_path / "out", **{"task": "embed", **options}).spec.hash

    plain = hashed()
    assert hashed(precision="fp16") == plain
    assert hashed(template=Template(product_tokens=16)) != plain
    write_json(bert / "millirank.json", {"template": {"product_tokens": 16}})
    assert hashed() == hashed(template=Template(product_tokens=16))
    assert hashed(template=Template()) == plain
    edit_json(bert / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    assert hashed(template=Template()) != plain
    moved = shutil.copytree(bert, tmp_path / "elsewhere")
    assert export_model(str(moved), tmp_path / "out", task="embed").spec.hash == hashed()


def test_word_embeddings_and_tokenizer_are_shared(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    whole, shared = folders["bert-rerank"], tmp_path / "shared"
    shared.mkdir()
    weights = {name: value.astype(np.float16) for name, value in load_file(whole / "model.safetensors").items()}
    save_file({n: v for n, v in weights.items() if n != f"bert.{WORDS}"}, shared / "model.safetensors")
    shutil.copy(whole / "config.json", shared)
    with pytest.raises(ModelRefused, match=r"no tokenizer: save one there"):
        export_model(str(shared), tmp_path / "out", task="rerank")
    template = {"fields": ["title"], "product_tokens": 20}
    write_json(shared / "millirank.json", {"template": template, "word_embeddings": str(whole)})
    export = export_model(str(shared), tmp_path / "out", task="rerank")
    assert export.spec.template == Template(fields=("title",), product_tokens=20)
    assert "word_embeddings/model.safetensors" in export.inputs
    found = run_in_openvino(export.folder / "model.onnx", packed(export))
    assert np.abs(found - np.load(REFERENCE)["bert-rerank"]).max() < HALF_SCORE
    other = write_model(tmp_path / "other", replace(CASES["bert-rerank"], seed=8))
    write_json(shared / "millirank.json", {"template": template, "word_embeddings": str(other)})
    assert export_model(str(shared), tmp_path / "out", task="rerank").spec.hash != export.spec.hash


@pytest.mark.parametrize(
    "form",
    [*map(Form.parse, ("joined-qkv", "half-norm", "time-major", "half-norm,joined-qkv,time-major"))],
)
@pytest.mark.parametrize("name", ["bert-mean", "bert-cls", "bert-rerank"])
def test_another_form_of_the_graph_says_the_same(
    folders: dict[str, Path], exports: dict[str, Export], tmp_path: Path, name: str, form: Form
) -> None:
    task = exports[name].spec.task
    other = export_model(str(folders[name]), tmp_path / "fp32", task=task, form=form)
    feeds = packed(other)
    truth = run_in_openvino(exports[name].folder / "model.onnx", feeds)
    for run in (run_in_openvino, run_in_onnx):
        np.testing.assert_allclose(run(other.folder / "model.onnx", feeds), truth, atol=TOLERANCE)
    assert other.spec == exports[name].spec
    half = export_model(str(folders[name]), tmp_path / "fp16", task=task, precision="fp16", form=form)
    bound = HALF_EMBEDDING if task == "embed" else HALF_SCORE
    np.testing.assert_allclose(run_in_onnx(half.folder / "model.onnx", feeds), truth, atol=bound)


def test_gelu_by_tanh_changes_no_more_than_rounding_does(
    folders: dict[str, Path], exports: dict[str, Export], tmp_path: Path
) -> None:
    source, exact = str(folders["bert-mean"]), exports["bert-mean"].folder / "model.onnx"
    feeds = packed(exports["bert-mean"])
    truth = run_in_openvino(exact, feeds)
    graphs = {}
    for name, precision, form in (
        ("rounded", "fp16", Form()),
        ("tanh", "fp16", Form(tanh_gelu=True)),
        ("fp32", "fp32", Form(tanh_gelu=True)),
    ):
        made = export_model(source, tmp_path / name, task="embed", precision=precision, form=form)  # type: ignore[arg-type]
        graphs[name] = made.folder / "model.onnx"
    assert graphs["fp32"].read_bytes() == exact.read_bytes()
    assert b"Tanh" in graphs["tanh"].read_bytes()
    assert b"Erf" not in graphs["tanh"].read_bytes()
    rounded, tanh = (run_in_onnx(graphs[name], feeds) for name in ("rounded", "tanh"))
    assert 0 < np.abs(tanh - rounded).max() < 1e-3
    assert np.abs(tanh - truth).mean() < 1.5 * np.abs(rounded - truth).mean()


def test_forms_are_read_as_they_are_written() -> None:
    for form in (Form(), Form(half_norm=True), Form(half_norm=True, joined_qkv=True), Form(tanh_gelu=True)):
        assert Form.parse(str(form)) == form
    assert Form.parse("plain") == Form()
    with pytest.raises(EngineError, match="no form flat: use half-norm, joined-qkv, time-major, tanh-gelu"):
        Form.parse("half-norm,flat")
