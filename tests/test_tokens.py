from dataclasses import replace
from pathlib import Path

import catalog_kit as kit
import numpy as np
import pytest

from millirank.errors import CatalogError
from millirank.tokens import Tokenizer
from millirank_engines import FakeEngine, Template


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    template = Template(product_tokens=6, query_tokens=3, query_prefix="red ", product_prefix="blue ")
    return Tokenizer(kit.tokenizer_file(tmp_path), FakeEngine(template=template).spec)


def test_ids_have_no_special_tokens_and_the_models_dtype(tokenizer: Tokenizer) -> None:
    ids, truncated = tokenizer.encode("Red kettle", 5)
    assert ids.tolist() == [2, 10]
    assert ids.dtype == np.uint16
    assert not truncated


def test_a_large_vocabulary_takes_more_bytes(tmp_path: Path) -> None:
    spec = replace(FakeEngine().spec, vocab_size=250_002)
    assert Tokenizer(kit.tokenizer_file(tmp_path), spec).encode("red", 5)[0].dtype == np.uint32


def test_a_long_text_is_cut_and_says_so(tokenizer: Tokenizer) -> None:
    ids, truncated = tokenizer.encode("red green blue black", 3)
    assert ids.tolist() == [2, 3, 4]
    assert truncated
    assert not tokenizer.encode("red green blue", 3)[1]


@pytest.mark.parametrize("text", ["", " \t\n", "\0", "🙂" * 50, "שלום", "a" * 10_000, "\u202e"])
def test_any_text_has_ids(tokenizer: Tokenizer, text: str) -> None:
    ids, truncated = tokenizer.encode(text, 8)
    assert len(ids) <= 8
    assert truncated == (len(tokenizer.encode(text, 100_000)[0]) > 8)


def test_queries_and_products_follow_the_template(tokenizer: Tokenizer) -> None:
    assert tokenizer.query("kettle")[0].tolist() == [2, 10]
    assert tokenizer.query("kettle lamp desk")[1]
    product = {"title": "Kettle", "brand": "Acme", "description": "kettle", "price": 3}
    assert tokenizer.product(product).tolist() == tokenizer.encode("blue kettle acme", 6)[0].tolist()


def test_batches_equal_single_texts(tokenizer: Tokenizer) -> None:
    texts = ["red kettle", "", "green lamp green lamp green lamp green"]
    assert [ids.tolist() for ids in tokenizer.encode_batch(texts, 4)] == [
        tokenizer.encode(text, 4)[0].tolist() for text in texts
    ]
    assert [ids.tolist() for ids in tokenizer.queries(texts)] == [tokenizer.query(text)[0].tolist() for text in texts]
    products = list(kit.products(3))
    assert [ids.tolist() for ids in tokenizer.products(products)] == [
        tokenizer.product(product).tolist() for product in products
    ]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CatalogError, match="is no tokenizer"):
        Tokenizer(tmp_path / "tokenizer.json", FakeEngine().spec)
