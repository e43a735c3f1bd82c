"""Mining: from catalogues without clicks or labels to the lists that a reranker is distilled from.

A catalogue's fields give pseudo-queries, two retrievers, rules and chance give candidates, and a mixture of their
scores is the teacher.
Offline; needs an encoder, no torch.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank.errors import CatalogError
from millirank.evaluation import Judgments
from millirank_engines.build.lists import TEACHER, Lists, Packed, read_manifest
from millirank_engines.model import Template

from .clicks import read_clicks
from .facts import facts_of
from .judged import with_judgments, without
from .lexical import Bm25
from .queries import KINDS, Drawn, Pseudo, pseudo_queries
from .rules import Negatives
from .teacher import Recipe, Searchable, lists_of
from .words import normal, reserved

__all__ = ["KINDS", "Models", "Recipe", "Source", "Step", "mine", "normal", "read_clicks", "reserved", "without"]

VERSION = 4  # of the mining; raise it when the same inputs give other lists
Ids = Sequence[int] | NDArray[np.generic]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]  # n texts to (n, dim), of unit length
Tokenize = Callable[[Sequence[str]], Sequence[Ids]]  # n texts to ids without special tokens
Step = Callable[[str, int, int], None]  # what is being done, how much is done, of how much


@dataclass(frozen=True)
class Source:
    """A catalogue to mine."""

    name: str
    products: Sequence[Mapping[str, Any]]  # id, title and, where known, brand, category and attributes
    texts: Sequence[str]  # what the reranker reads of each product: its template's text
    vectors: NDArray[np.float32] | None = None  # of the encoder, (products, dim), where they are known already

    @property
    def ids(self) -> list[str]:
        """Of the products."""
        return [str(product["id"]) for product in self.products]

    @property
    def titles(self) -> list[str]:
        """Of the products."""
        return [str(product["title"]) for product in self.products]

    @property
    def digest(self) -> str:
        """sha256 of every product and text, in order."""
        sha = hashlib.sha256()
        for parts in zip(self.products, self.texts, strict=True):
            sha.update(json.dumps(parts, sort_keys=True).encode())
        return sha.hexdigest()


@dataclass(frozen=True)
class Models:
    """What mining needs of models, and what they are called in the manifest."""

    query_vectors: Encode
    product_vectors: Encode
    tokens: Tokenize
    hash: str  # of the encoder
    token_dtype: str  # uint16 or uint32
    special: Mapping[str, int]  # cls, sep, pad
    word_embeddings: str  # the model that the reranker starts from and shares its word embeddings with
    template: Template = field(default_factory=Template)  # of the reranker

    def packed_queries(self, queries: Sequence[str]) -> Packed:
        """The queries' ids by the template."""
        texts = [self.template.query_text(query) for query in queries]
        return Packed.of(self.tokens(texts), self.template.query_tokens, self.token_dtype)


def mine(
    sources: Sequence[Source],
    models: Models,
    folder: Path,
    *,
    recipe: Recipe | None = None,
    hold_out: Sequence[str] = (),
    judgments: Judgments | None = None,
    like: Path | None = None,
    step: Step = lambda what, done, of: None,  # noqa: ARG005
) -> tuple[Lists, bool]:
    """Mines lists into a folder, unless it holds already those of the same inputs.

    Args:
        sources: the catalogues; each needs at least recipe.width products.
        models: the encoder and the tokenizer.
        folder: where lists.npz and manifest.json go.
        recipe: how; the default is that of the shipped reranker.
        hold_out: queries that are never mined.
        judgments: ratings to learn from besides.
        like: a folder whose mined lists are taken where their inputs were the same, whatever judgments it has.
        step: is told of the progress.

    Returns:
        The lists, and whether they were made now.

    Raises:
        CatalogError: if a catalogue is too small, or no judged product is in any.
    """
    recipe = recipe or Recipe()
    for source in sources:
        if len(source.products) < recipe.width:
            raise CatalogError(
                f"{source.name} has {len(source.products)} products, too few to learn from: "
                f"train on a catalogue of at least {recipe.width}"
            )
    facts = _facts(sources, models, recipe, hold_out, judgments or {})
    if (read_manifest(folder) or {}).get("key") == facts["key"]:
        return Lists.open(folder), False
    if like is not None and (read_manifest(like) or {}).get("mined_key") == facts["mined_key"]:
        lists = Lists.open(like).mined()
    else:
        lists = _mined(sources, models, recipe, hold_out, step)
    if judgments:
        lists = with_judgments(lists, [s.ids for s in sources], judgments, models.packed_queries)
    split = np.bincount(lists.source[lists.kind == TEACHER], minlength=len(sources))
    for catalogue, count in zip(facts["catalogues"], split.tolist(), strict=True):
        catalogue["pseudo_queries"] = count
    lists = replace(lists, manifest={**lists.manifest, **facts})
    lists.save(folder)
    return lists, True


def _facts(
    sources: Sequence[Source], models: Models, recipe: Recipe, hold_out: Sequence[str], judgments: Judgments
) -> dict[str, Any]:
    inputs = {
        "version": VERSION,
        "catalogues": [{"name": s.name, "products": len(s.products), "sha256": s.digest} for s in sources],
        "encoder": models.hash,
        "word_embeddings": models.word_embeddings,
        "special": dict(models.special),
        "template": asdict(models.template),
        "recipe": asdict(recipe),
        "kinds": {kind: KINDS[kind] for kind in recipe.kinds},
        "held_out": sorted({normal(q) for q in hold_out}),
    }
    judged = {
        "judged_queries": sorted(judgments),
        "judgments": sum(map(len, judgments.values())),
        "judgments_sha256": hashlib.sha256(json.dumps(judgments, sort_keys=True).encode()).hexdigest(),
    }
    return {"key": _hashed({**inputs, **judged}), "mined_key": _hashed(inputs), **inputs, **judged}


def _hashed(inputs: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _mined(sources: Sequence[Source], models: Models, recipe: Recipe, hold_out: Sequence[str], step: Step) -> Lists:
    share = np.sqrt([len(s.products) for s in sources])
    counts = np.floor(recipe.queries * share / share.sum()).astype(int)
    queries: list[Pseudo] = []
    rows, parts, origin = [], [], []
    first = 0
    kinds = {kind: KINDS[kind] for kind in recipe.kinds}
    for number, source in enumerate(sources):
        rng = np.random.default_rng([recipe.seed, number])
        facts = facts_of(source.products)
        mine_now = pseudo_queries(source.titles, facts, Drawn(int(counts[number]), hold_out, kinds=kinds), rng)
        if not mine_now:
            raise CatalogError(f"no words are shared by several titles of {source.name}: train on a larger catalogue")
        catalogue = Searchable(
            Bm25(source.texts),
            source.vectors
            if source.vectors is not None
            else _encoded(source.texts, models.product_vectors, f"encode {source.name}", step),
            Negatives(facts),
        )
        asked = [query.read for query in mine_now]
        vectors = _encoded(asked, models.query_vectors, f"encode queries for {source.name}", step)
        step(f"mine {source.name}", 0, len(mine_now))
        found, scored = lists_of(catalogue, mine_now, vectors, recipe, rng)
        step(f"mine {source.name}", len(mine_now), len(mine_now))
        rows.append(found + first)
        parts.append(scored)
        origin.append(np.full(len(mine_now), number, np.uint8))
        queries += mine_now
        first += len(source.products)
    texts = [text for source in sources for text in source.texts]
    made = Lists(
        queries=models.packed_queries([query.text for query in queries]),
        products=Packed.of(models.tokens(texts), models.template.product_tokens, models.token_dtype),
        query=np.arange(len(queries), dtype=np.int32),
        rows=np.concatenate(rows),
        targets=np.zeros((len(queries), recipe.width), np.float32),
        parts=np.concatenate(parts),
        kind=np.full(len(queries), TEACHER, np.uint8),
        source=np.concatenate(origin),
        manifest={"pseudo_queries": dict(Counter(query.kind for query in queries)), "parts": list(recipe.weights)},
    )
    return made.mixed(recipe.weights)


def _encoded(texts: Sequence[str], encode: Encode, what: str, step: Step, block: int = 2048) -> NDArray[np.float32]:
    """Vectors of texts, in blocks of similar length so that little is padded."""
    order = np.argsort([len(t) for t in texts], kind="stable")
    parts = []
    for start in range(0, len(order), block):
        parts.append(encode([texts[i] for i in order[start : start + block]]))
        step(what, min(start + block, len(order)), len(order))
    vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors
