"""What the catalogue's tests share: products, a tiny tokenizer, models that need nothing."""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models import write_words

from millirank.catalog.ingest import Models
from millirank.catalog.rows import Row
from millirank.tokens import Tokenizer
from millirank_engines import FakeEngine

COLOURS = ["red", "green", "blue", "black", "white", "silver", "golden", "grey"]
KINDS = ["kettle", "toaster", "lamp", "desk", "chair", "laptop", "phone", "speaker", "printer", "camera"]
BRANDS = ["Acme", "Bosco", "Cyra", "Delmo", "Ester"]
WORDS = [f"w{number}" for number in range(400)]


def tokenizer_file(folder: Path) -> Path:
    """A tokenizer of whole words."""
    words = ["[PAD]", "[UNK]", *COLOURS, *KINDS, *(brand.lower() for brand in BRANDS), *WORDS]
    return write_words(folder, {word: number for number, word in enumerate(words)})


def models(folder: Path, dim: int = 8, **options: Any) -> Models:
    """A fake encoder, and the tokenizers of it and of a fake reranker."""
    path = tokenizer_file(folder)
    encoder = FakeEngine(dim, **options)
    return Models(encoder, Tokenizer(path, encoder.spec), Tokenizer(path, FakeEngine(task="rerank").spec))


def products(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Products with titles of their own."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(count):
        yield {
            "id": f"p{number}",
            "title": f"{rng.choice(COLOURS)} {rng.choice(KINDS)} {' '.join(rng.sample(WORDS, 4))}",
            "brand": rng.choice(BRANDS),
            "description": " ".join(rng.sample(WORDS, rng.randint(1, 12))),
            "price": number / 2,
        }


def rows(of: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """Products as a reader gives them."""
    return (Row(line, product) for line, product in enumerate(of, 1))


def titled(titles: Sequence[str]) -> Iterator[Row]:
    """Products that have nothing but a title."""
    return rows({"id": str(number), "title": title} for number, title in enumerate(titles))
