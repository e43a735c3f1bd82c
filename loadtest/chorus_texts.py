"""An engine on real queries and products with the shipped template: pairs a second, and closeness to FP32."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import Row

from millirank.loadtest.queries import read_queries
from millirank.tokens import Tokenizer
from millirank_engines import Engine, EngineError, LoadedEngine, Profile, pack_pairs, pack_sequences

PAIRS = 200_000  # of real lengths
PRODUCTS = 2_400  # whose embeddings are compared

Ids = NDArray[np.generic]


@dataclass(frozen=True)
class Texts:
    """Token ids of every product, and of every distinct query."""

    products: Sequence[Ids]
    queries: Sequence[Ids]


def read_texts(loaded: LoadedEngine, catalog: Path, judgments: Path) -> Texts:
    """The texts of a catalogue and of the queries of judgments, as the model's template and tokenizer have them."""
    spec = loaded.spec
    tokens, template = Tokenizer(loaded.tokenizer, spec), spec.template
    with catalog.open(encoding="utf-8") as file:
        texts = [template.product_text(json.loads(line)) for line in file]
    asked = list(dict.fromkeys(read_queries(judgments)))
    return Texts(
        [tokens.encode(text, template.product_tokens)[0] for text in texts],
        [tokens.encode(template.query_text(query), template.query_tokens)[0] for query in asked],
    )


def chunks(lengths: Sequence[int], profiles: Sequence[Profile]) -> Iterator[tuple[Profile, slice]]:
    """Ascending lengths cut into calls: each on the shortest profile that holds its first, of those the widest.

    Raises:
        EngineError: if no profile holds a length.
    """
    begin = 0
    while begin < len(lengths):
        fitting = [profile for profile in profiles if profile.length >= lengths[begin]]
        if not fitting:
            raise EngineError(f"no profile holds {lengths[begin]} tokens: add a longer bucket to the subject")
        length = min(profile.length for profile in fitting)
        profile = max((p for p in fitting if p.length == length), key=lambda p: p.batch)
        end = begin
        while end < len(lengths) and end - begin < profile.batch and lengths[end] <= length:
            end += 1
        yield profile, slice(begin, end)
        begin = end


def pair_rows(case: str, loaded: LoadedEngine, texts: Texts) -> Iterator[Row]:
    """Pairs a second that a reranker scores, sorted by length."""
    engine, spec = loaded.engine, loaded.spec
    random = np.random.default_rng(7)
    drawn = random.integers(0, (len(texts.queries), len(texts.products)), (PAIRS, 2))
    pairs = [(texts.queries[q], texts.products[p]) for q, p in drawn]
    pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    special = 2 + spec.pair_separators
    plan = [
        (profile, pack_pairs([q for q, _ in pairs[part]], [p for _, p in pairs[part]], profile, spec))
        for profile, part in chunks([special + len(q) + len(p) for q, p in pairs], engine.profiles)
    ]
    valid = sum(int(feeds["attention_mask"].sum()) for _, feeds in plan)
    start = time.perf_counter()
    for _, feeds in plan:
        engine.infer(feeds)
    seconds = time.perf_counter() - start
    yield Row(case, "pairs", PAIRS / seconds, "1/s")
    yield Row(case, "tokens a pair", valid / PAIRS, "")
    yield Row(case, "padding", 100 * (1 - valid / sum(profile.tokens for profile, _ in plan)), "%")


def embedded(engine: Engine, loaded: LoadedEngine, texts: Sequence[Ids]) -> NDArray[np.float32]:
    """Embeddings of texts in ascending length, (n, dim), at the buckets of the artifact."""
    found = []
    for profile, part in chunks([2 + len(text) for text in texts], loaded.manifest.profiles):
        feeds = pack_sequences(texts[part], profile, loaded.spec)
        found.append(engine.infer(feeds)["embedding"][: part.stop - part.start].copy())
    return np.concatenate(found)


def cosine_rows(cases: Mapping[str, LoadedEngine], reference: Engine, texts: Texts) -> Iterator[Row]:
    """How close embeddings of products, drawn at random, and of all queries are to those of an FP32 reference.

    Args:
        cases: encoders by their cases.
        reference: in FP32; takes the same shapes.
        texts: of the same tokenizer.
    """
    drawn = np.random.default_rng(7).permutation(len(texts.products))[:PRODUCTS]
    for kind, some in (("products", [texts.products[i] for i in drawn]), ("queries", list(texts.queries))):
        some.sort(key=len)
        truth: NDArray[np.float32] | None = None
        for case, loaded in cases.items():
            if truth is None:
                truth = embedded(reference, loaded, some)
            cosine = np.einsum("ij,ij->i", embedded(loaded.engine, loaded, some), truth, dtype=np.float64)
            yield Row(case, kind, len(some), "")
            for metric, value in (("least", cosine.min()), ("p1", np.quantile(cosine, 0.01)), ("mean", cosine.mean())):
                yield Row(case, f"{kind} {metric} cosine", float(value), "")
