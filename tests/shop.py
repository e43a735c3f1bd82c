"""A tiny shop on fakes: everything between gRPC and the engines is real."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models import write_words
from numpy.typing import NDArray

from millirank.core import Core
from millirank.lane import Model
from millirank.pipeline import Limits, Pipeline
from millirank.retrieve import ExactIndex
from millirank.tokens import Tokenizer
from millirank.transport import InProcess
from millirank.v1 import search_pb2
from millirank_engines.base import Profile
from millirank_engines.fake import FakeEngine
from millirank_engines.pack import Ragged, pack_sequences

TITLES = (
    "red running shoe",
    "blue running shoe",
    "red rain jacket",
    "running socks",
    "wireless headphones black",
    "headphones case black",
    "coffee machine",
    "coffee grinder",
    "coffee mug red",
    "trail running backpack",
    "phone case",
    "phone charger",
)


class Gate:
    """An engine's delay that lasts until a test ends it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, _call: int) -> float:
        self.entered.set()
        assert self.opened.wait(20)
        return 0.0


class Products:
    """Catalog and ProductTokens over TITLES."""

    version = 7

    def __init__(self, tokenizer: Tokenizer, titles: Sequence[str] = TITLES) -> None:
        self.titles = titles
        self._ids = [tokenizer.encode(title, 64)[0] for title in titles]

    def rendered(self, rows: Sequence[int]) -> list[tuple[str, bytes]]:
        return [
            (f"p{row}", search_pb2.Product(id=f"p{row}", title=self.titles[row]).SerializeToString()) for row in rows
        ]

    def gather(self, rows: NDArray[np.uint32]) -> Ragged:
        return Ragged.of([self._ids[row] for row in rows.tolist()])

    def lengths(self, rows: NDArray[np.uint32]) -> NDArray[np.int64]:
        return np.array([len(self._ids[row]) for row in rows.tolist()], np.int64)


@dataclass
class Shop:
    """What a test may look at or make fail."""

    encoder: FakeEngine
    reranker: FakeEngine
    core: Core
    pipeline: Pipeline


def tokenizer_file(folder: Path) -> Path:
    words = sorted({word for title in TITLES for word in title.split()})
    return write_words(folder, {"[UNK]": 100, **{word: 1000 + place for place, word in enumerate(words)}})


@contextmanager
def open_shop(
    folder: Path,
    *,
    encoder: dict[str, Any] | None = None,
    reranker: dict[str, Any] | None = None,
    limits: Limits | None = None,
    start: Callable[[Core], None] = Core.start,
) -> Iterator[Shop]:
    """Opens a shop; encoder and reranker are arguments of FakeEngine, whose call 0 is the first after the warm-up."""
    path = tokenizer_file(folder)
    profiles = (Profile(1, 16), Profile(4, 16), Profile(16, 16))
    embed, rerank = FakeEngine(task="embed", profiles=profiles), FakeEngine(task="rerank", profiles=profiles)
    tokenizer = Tokenizer(path, embed.spec)
    products = Products(tokenizer)
    titles = (tokenizer.encode(title, 64)[0] for title in TITLES)
    packed = (pack_sequences([title], Profile(1, 16), embed.spec) for title in titles)
    vectors = np.concatenate([embed.infer(feeds)["embedding"] for feeds in packed])
    core = Core(Model(embed, embed.spec), Model(rerank, rerank.spec))
    core.warm_up(rounds=1, idle=0)
    core.snapshots[products.version] = products
    for engine, behaviour in ((embed, encoder), (rerank, reranker)):
        engine.calls = 0
        for name, value in (behaviour or {}).items():
            setattr(engine, f"_{name}", value)
    start(core)
    with ThreadPoolExecutor(1) as executor:
        pipeline = Pipeline(
            transport=InProcess(core),
            catalog=products,
            retriever=ExactIndex(vectors, TITLES),
            encoder_tokens=tokenizer,
            reranker_tokens=Tokenizer(path, rerank.spec),
            executor=executor,
            limits=limits,
        )
        try:
            yield Shop(embed, rerank, core, pipeline)
        finally:
            core.close()
