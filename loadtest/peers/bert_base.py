"""A cross-encoder of BERT-base's shape with random weights: only its speed means something."""

import json
import shutil
from pathlib import Path

import numpy as np

from millirank_engines.build.source import TOKENIZER_FILES, open_source
from millirank_engines.model import ENCODER

HIDDEN, LAYERS, HEADS, INNER, POSITIONS, VOCABULARY = 768, 12, 12, 3072, 512, 30522
# Deviation of the weights. With BERT's own 0.02 all scores lie so close together (sd 0.018) that the rounding of FP16
# alone turns pairs around; with 0.05 everywhere the sums of a layer grow until FP16 rounds them coarsely. So the inner
# layers and the tables that are added to every word are drawn narrower: PyTorch's FP16 is off by 0.0047 sd at most.
SCALE, NARROW, ADDED = 0.05, 0.02, 0.015


def write_bert_base(folder: Path) -> Path:
    """Writes config.json, model.safetensors in FP16 and the encoder's tokenizer; does nothing if they are there."""
    from safetensors.numpy import save_file

    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "vocab_size": VOCABULARY,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "id2label": {"0": "relevance"},
        "label2id": {"relevance": 0},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    tokenizer = open_source(ENCODER).tokenizer
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    random = np.random.default_rng(7)

    def normal(*shape: int, scale: float = SCALE) -> np.ndarray:
        return (random.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float16)

    made: dict[str, np.ndarray] = {}

    def linear(name: str, rows: int, columns: int, scale: float = SCALE) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = normal(rows, columns, scale=scale), normal(rows, scale=scale)

    def norm(name: str) -> None:
        made[f"{name}.LayerNorm.weight"] = np.ones(HIDDEN, np.float16)
        made[f"{name}.LayerNorm.bias"] = np.zeros(HIDDEN, np.float16)

    for table, rows, scale in (("word", VOCABULARY, SCALE), ("position", POSITIONS, ADDED), ("token_type", 2, ADDED)):
        made[f"bert.embeddings.{table}_embeddings.weight"] = normal(rows, HIDDEN, scale=scale)
    norm("bert.embeddings")
    for number in range(LAYERS):
        layer = f"bert.encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output")
        linear(f"{layer}.intermediate.dense", INNER, HIDDEN, NARROW)
        linear(f"{layer}.output.dense", HIDDEN, INNER, NARROW)
        norm(f"{layer}.output")
    linear("bert.pooler.dense", HIDDEN, HIDDEN)
    linear("classifier", 1, HIDDEN)
    save_file(made, folder / "model.safetensors")
    return folder
