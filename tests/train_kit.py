"""Lists that a tiny network can learn from, written as mining writes them."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from millirank.mining import Recipe
from millirank_engines.build.lists import JUDGED, TEACHER, Lists, Packed
from millirank_engines.build.train import Settings

SPECIAL = {"cls": 2, "sep": 3, "pad": 0}
SETTINGS = Settings(epochs=3, lists=4, lr=3e-3, held=4, product_tokens=(4, 6), served_tokens=6)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'millirank[train]'"
)


def write_lists(folder: Path, init: Path) -> Path:
    """Forty lists in which the product that shares the query's word is the best; the last four are judged."""
    rng = np.random.default_rng(5)
    vocabulary = json.loads((init / "config.json").read_text())["vocab_size"]
    words = rng.integers(5, vocabulary, 60)
    products = [[words[i], *rng.integers(5, vocabulary, rng.integers(0, 8))] for i in range(60)]
    asked = rng.integers(0, 60, 40)
    rows = np.array([[a, *rng.choice(np.delete(np.arange(60), a), 7, replace=False)] for a in asked], np.int32)
    targets = rng.normal(0, 0.3, rows.shape).astype(np.float32)
    targets[:, 0] += 4
    kind = np.full(40, TEACHER, np.uint8)
    kind[-4:] = JUDGED
    rows[-4:, 5:] = -1
    targets[-4:] = [3, 0, 0, 1, 0, 0, 0, 0]
    manifest = {
        "template": {"fields": ["title"], "product_tokens": 8, "query_tokens": 4},
        "special": SPECIAL,
        "parts": ["dense", "rule"],
        "word_embeddings": "tiny",
        "encoder": "0" * 64,
        "recipe": asdict(Recipe(each=4)),
        "pseudo_queries": {"type": 20, "model": 16},
        "catalogues": [{"name": "shop", "products": 60, "pseudo_queries": 36, "sha256": "f" * 64}],
        "held_out": ["a", "b"],
        "judged_queries": ["c"],
    }
    lists = Lists(
        queries=Packed.of([[words[a]] for a in asked], 4, "uint16"),
        products=Packed.of(products, 8, "uint16"),
        query=np.arange(40, dtype=np.int32),
        rows=rows,
        targets=targets,
        parts=np.stack([targets, -targets], 2).astype(np.float16),
        kind=kind,
        source=np.zeros(40, np.uint8),
        manifest=manifest,
    )
    lists.save(folder)
    return folder
