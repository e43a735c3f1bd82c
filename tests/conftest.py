"""Fixtures that several test files share."""

import json
from pathlib import Path

import pytest
from catalog_kit import products
from models import Tiny, write_model

from millirank.commands.index import index


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index with real engines of tiny random models over 300 products."""
    folder = tmp_path_factory.mktemp("tiny")
    catalog = folder / "products.jsonl"
    catalog.write_text("".join(json.dumps(product) + "\n" for product in products(300)), encoding="utf-8")
    encoder = write_model(folder / "encoder", Tiny(task="embed"))
    reranker = write_model(folder / "reranker", Tiny(task="rerank"))
    index(catalog=catalog, out=folder / "index", encoder=str(encoder), reranker=str(reranker))
    return folder / "index"
