"""Stores what transformers and torch compute, for test_export.py to compare with where torch is not installed.

Run from the repository's root, where the extra `train` is installed:
    python tests/make_reference.py
It writes tests/data/reference.npz; `--check` compares instead, and fails on any difference above 1e-5.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests" / "data" / "reference.npz"
sys.path[:0] = [str(ROOT / "engines"), str(ROOT / "tests")]

from models import PAIRS, TEXTS, Tiny, write_model  # noqa: E402

CASES = {
    "bert-mean": Tiny("bert"),
    "bert-cls": Tiny("bert", pooling="cls", activation="gelu_new"),
    "roberta-mean": Tiny("roberta", activation="relu"),
    "roberta-cls": Tiny("roberta", pooling="cls"),
    "xlmr-mean": Tiny("xlm-roberta"),
    "xlmr-cls": Tiny("xlm-roberta", pooling="cls"),
    "bert-rerank": Tiny("bert", "rerank"),
    "roberta-rerank": Tiny("roberta", "rerank"),
    "xlmr-rerank": Tiny("xlm-roberta", "rerank", activation="gelu_pytorch_tanh"),
}


def embeddings(folder: Path, pooling: str) -> NDArray[np.float32]:
    """TEXTS through transformers, one at a time, pooled and normalised as sentence-transformers does."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            hidden: Any = model(**tokenizer(text, return_tensors="pt", truncation=False)).last_hidden_state
        pooled = hidden.mean(1) if pooling == "mean" else hidden[:, 0]
        rows.append(torch.nn.functional.normalize(pooled).numpy()[0])
    return np.stack(rows)


def scores(folder: Path) -> NDArray[np.float32]:
    """PAIRS through transformers, one at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for query, product in PAIRS:
        with torch.no_grad():
            logits: Any = model(**tokenizer(query, product, return_tensors="pt", truncation=False)).logits
        rows.append(logits.numpy()[0, 0])
    return np.array(rows, np.float32)


def reference(name: str, folder: Path) -> NDArray[np.float32]:
    """What transformers computes for one of CASES, whose model lies in folder."""
    tiny = CASES[name]
    return embeddings(folder, tiny.pooling) if tiny.task == "embed" else scores(folder)


def main() -> None:
    """Writes or checks the reference."""
    from millirank_engines.build.source import resolve_source
    from millirank_engines.model import ENCODER

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = {"minilm": embeddings(resolve_source(ENCODER), "mean")}
    with tempfile.TemporaryDirectory() as temporary:
        for name, tiny in CASES.items():
            made[name] = reference(name, write_model(Path(temporary) / name, tiny))
    if check:
        stored = np.load(REFERENCE)
        worst = max(float(np.abs(stored[name] - value).max()) for name, value in made.items())
        sys.exit(0 if worst <= 1e-5 else f"{REFERENCE} differs by {worst:.1e}: run {sys.argv[0]} without --check")
    REFERENCE.parent.mkdir(exist_ok=True)
    np.savez_compressed(REFERENCE, **made)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
