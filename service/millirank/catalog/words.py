"""The words of a catalogue and in how many products each stands: what misspelled queries are corrected by."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .indexes import analyzer, mapped
from .packed import Packed, PackedWriter

FOLDER = "words"
SPELLED = "spelled"  # the words themselves, packed, UTF-8
_WORD, _KNOWN, _COUNT, _ROW = "word", "known", "count", "row"
_HEAP = 64 << 20  # bytes
LONGEST = 39  # bytes of a word that is kept: the analyzer leaves out those of 40
SHORTEST = 3  # letters of a word that is kept


class WordCounts:
    """Counts words while a catalogue is read. Its memory grows with the vocabulary, about 100 bytes a word."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._known: set[str] = set()

    def add(self, words: Iterable[str], besides: Iterable[str]) -> None:
        """Counts one product.

        Args:
            words: of the text that the lexical index sees, folded.
            besides: of its other fields, folded: they are known, but nothing is corrected to them.
        """
        self._counts.update({word for word in words if _kept(word)})
        self._known.update(word for word in besides if _kept(word))

    def write(self, folder: Path, known: Collection[str]) -> int:
        """Writes folder/words and how the words are spelled; how many there are.

        Args:
            folder: of the snapshot.
            known: words of the language, lower case, that are never corrected either.
        """
        import tantivy

        schema = _schema()
        (folder / FOLDER).mkdir()
        index = tantivy.Index(schema, path=str(folder / FOLDER))
        writer = index.writer(heap_size=_HEAP, num_threads=1)
        words = sorted(self._counts)
        for row, word in enumerate(words):
            document = tantivy.Document()
            document.add_text(_WORD, word)
            document.add_unsigned(_COUNT, self._counts[word])
            document.add_unsigned(_ROW, row)
            writer.add_document(document)
        document = tantivy.Document()
        for word in sorted(self._known.union(filter(_kept, known)).difference(words)):
            document.add_text(_KNOWN, word)
        document.add_unsigned(_COUNT, 0)
        document.add_unsigned(_ROW, len(words))
        writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        for lock in (folder / FOLDER).glob("*.lock"):
            lock.unlink()
        with PackedWriter(folder, SPELLED, np.uint8) as spelled:
            spelled.extend([word.encode() for word in words])
        return len(words)


class Words:
    """The words that a WordCounts wrote, mapped read only; usable from several threads."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        """Maps the words of a snapshot's folder, from its files in folder/words."""
        import tantivy

        index = mapped(files)
        self._schema, self._searcher = index.schema, index.searcher()
        self._spelled = Packed(folder, SPELLED, np.uint8)
        self._fuzzy = tantivy.Query.fuzzy_term_query
        self._query = tantivy.Query.term_query
        self._analyzer = analyzer("words")

    def __len__(self) -> int:
        return len(self._spelled)

    def folded(self, word: str) -> str:
        """A word as it is kept: lower case, without accents; empty where it is longer than any word that is kept."""
        if word.isascii():
            return word.lower() if len(word) <= LONGEST else ""
        return "".join(self._analyzer.analyze(word))

    def count(self, word: str) -> int:
        """In how many products a folded word stands; asks the dictionary first, as most words are asked in vain."""
        if not self._searcher.doc_freq(_WORD, word):
            return 0
        hits = self._searcher.search(self._query(self._schema, _WORD, word, "basic"), 1, count=False).hits
        return int(self._searcher.fast_field_values(_COUNT, [hits[0][1]])[0])

    def __contains__(self, word: str) -> bool:
        """Whether a folded word stands in a product, in any field, or is a word of the language."""
        return bool(self._searcher.doc_freq(_WORD, word) or self._searcher.doc_freq(_KNOWN, word))

    def near(self, word: str, slips: int, most: int = 16) -> list[tuple[str, int]]:
        """Words that so many slips lead to (letters replaced, left out, added, or neighbours swapped).

        Args:
            word: folded.
            slips: 1 or 2; words with fewer are found, too.
            most: how many words at most.

        Returns:
            Words and in how many products each stands, most first.
        """
        query = self._fuzzy(self._schema, _WORD, word, slips, transposition_cost_one=True)
        hits = self._searcher.search(query, most, count=False, order_by_field=_COUNT).hits
        rows = self._searcher.fast_field_values(_ROW, [address for _, address in hits])
        return [(self._spelled[row].tobytes().decode(), count) for row, (count, _) in zip(rows, hits, strict=True)]


def _schema() -> Any:  # noqa: ANN401 - tantivy has no types
    import tantivy

    schema = tantivy.SchemaBuilder()
    schema.add_text_field(_WORD, tokenizer_name="raw", index_option="basic")
    schema.add_text_field(_KNOWN, tokenizer_name="raw", index_option="basic")
    schema.add_unsigned_field(_COUNT, fast=True)
    schema.add_unsigned_field(_ROW, fast=True)
    return schema.build()


def _kept(word: str) -> bool:
    return len(word) >= SHORTEST and word.isalpha()
