"""Texts into token ids, by a model's own sealed tokenizer and template."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from millirank_engines.model import ModelSpec
from millirank_engines.pack import Ids

from .errors import CatalogError

_BEGINS = frozenset("\u2581\u0120")  # what an entry of a vocabulary begins with that begins a word


class Tokenizer:
    """A tokenizer.json and the model that it belongs to; usable from several threads.

    Encoding one text takes no other thread. Batches do only where TOKENIZERS_PARALLELISM is set to true: a frontend
    shares the machine with others, an index run does not.
    """

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Opens a sealed tokenizer.

        Raises:
            CatalogError: if the file is no tokenizer.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as RustTokenizer

        try:
            self._rust = RustTokenizer.from_file(str(path))
        except Exception as error:  # the binding raises bare Exception
            raise CatalogError(
                f"{path} is no tokenizer ({error}): build it anew with `millirank engine build`"
            ) from error
        self._rust.no_truncation()
        self._rust.no_padding()
        self._dtype = np.dtype(spec.token_dtype)
        self.spec = spec
        template = spec.template
        self._queries = (
            hashlib.sha256(path.read_bytes()).digest(),
            spec.token_dtype,
            template.query_prefix,
            template.query_tokens,
        )

    def words(self) -> set[str]:
        """The whole words of the vocabulary, lower case: what the model's language knows."""
        entries = self._rust.get_vocab(with_added_tokens=False)
        marked = {entry[1:] for entry in entries if entry[:1] in _BEGINS}  # SentencePiece and byte-level BPE mark them
        return {entry.lower() for entry in marked or entries if entry.isalpha()}  # WordPiece marks the others

    def encode(self, text: str, limit: int) -> tuple[Ids, bool]:
        """The first limit token ids of a text, and whether there were more."""
        ids = self._rust.encode(text, add_special_tokens=False).ids
        return np.array(ids[:limit], self._dtype), len(ids) > limit

    def encode_batch(self, texts: Sequence[str], limit: int) -> list[Ids]:
        """The first limit token ids of each text."""
        encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids[:limit], self._dtype) for encoding in encodings]

    def query(self, text: str) -> tuple[Ids, bool]:
        """A query's ids by the template, and whether it was cut."""
        template = self.spec.template
        return self.encode(template.query_text(text), template.query_tokens)

    def same_queries(self, other: "Tokenizer") -> bool:
        """Whether both give every query the same ids."""
        return self._queries == other._queries  # noqa: SLF001 - of the same class

    def queries(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of several queries by the template."""
        template = self.spec.template
        return self.encode_batch([template.query_text(text) for text in texts], template.query_tokens)

    def product(self, product: Mapping[str, Any]) -> Ids:
        """A product's ids by the template."""
        return self.products([product])[0]

    def products(self, products: Sequence[Mapping[str, Any]]) -> list[Ids]:
        """The ids of several products by the template."""
        template = self.spec.template
        return self.encode_batch([template.product_text(product) for product in products], template.product_tokens)
