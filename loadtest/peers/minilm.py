"""A cross-encoder of MiniLM-L6's shape: six layers with real weights, and a head that was drawn.

What others publish for MiniLM rerankers is of six layers; ours has fewer. The layers, the pooler and the words are
those of all-MiniLM-L6-v2, so rounding meets real weights; its order means nothing.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from millirank_engines.build.source import open_source, resolve_source
from millirank_engines.build.tensors import SETTINGS, WORDS
from millirank_engines.model import ENCODER, RERANKER

SCALE = 0.05  # deviation of the head's weights


def write_minilm(folder: Path) -> Path:
    """Writes config.json, millirank.json and model.safetensors in FP16; does nothing if they are there.

    Word embeddings and tokenizer stay in the encoder's package, the template is the shipped reranker's.
    """
    from safetensors.numpy import save_file

    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    encoder = open_source(ENCODER)
    config = {
        **encoder.config,
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "relevance"},
        "label2id": {"relevance": 0},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    shutil.copyfile(resolve_source(RERANKER) / SETTINGS, folder / SETTINGS)
    made = {f"bert.{name}": tensor.astype(np.float16) for name, tensor in encoder.weights.items() if _owned(name)}
    hidden = int(config["hidden_size"])
    head = np.random.default_rng(7).standard_normal((1, hidden), np.float32) * np.float32(SCALE)
    made |= {"classifier.weight": head.astype(np.float16), "classifier.bias": np.zeros(1, np.float16)}
    save_file(made, folder / "model.safetensors")
    return folder


def _owned(name: str) -> bool:
    """Whether a tensor is the network's own: words are shared, positions are only counted."""
    return name != WORDS and not name.endswith("position_ids")
