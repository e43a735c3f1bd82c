"""The nouns of a query's path: frozen, with no dependency but numpy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Product = Mapping[str, Any]  # id, title and, if present, the other fields of millirank.v1.Product
Rows = NDArray[np.uint32]  # products of one snapshot, (n,)
Served = tuple[str, int, Rows]  # a query as it was searched, its tokens to the reranker, and the first candidates


class Phase(Enum):
    """How far the order of an answer has come."""

    RETRIEVED = 1  # provisional: the fused order
    RANKED = 2  # final


class Priority(IntEnum):
    """Who goes first when both wait: the lower value."""

    INTERACTIVE = 0  # somebody looks at a screen
    BATCH = 1


class Degraded(Enum):
    """Why an answer is less good than it could be."""

    DEADLINE = "no time was left for the reranker"
    RERANKER_OVERRUN = "the reranker was not done in time"
    RERANKER_FAULT = "the reranker failed"
    ENCODER_OVERRUN = "the encoder was not done in time, so only the lexical index answered"
    ENCODER_FAULT = "the encoder failed, so only the lexical index answered"


@dataclass(frozen=True)
class Query:
    """What a shopper asks."""

    text: str
    limit: int = 10
    rerank_depth: int | None = None  # a cap; None means the server's
    deadline: float | None = None  # monotonic seconds, set by rpc; None means no limit
    arrived: float = 0.0  # monotonic seconds, set by rpc
    margin: float = 0.0  # seconds by which the deadline is earlier than what was promised, set by rpc
    own: float = 0.0  # seconds of work before its provisional order besides the encoder's, predicted by rpc
    id: str = ""
    priority: Priority = Priority.INTERACTIVE
    marks: dict[str, float] | None = field(default=None, compare=False)  # its steps' ends; None: they are not traced

    def mark(self, step: str, clock: Callable[[], float]) -> None:
        """Remembers when a step was done, if somebody wants to know."""
        if self.marks is not None:
            self.marks[step] = clock()


@dataclass(frozen=True)
class Order:
    """Candidates, best first."""

    rows: Rows
    scores: NDArray[np.float32]  # (n,), descending
    exact: int = 0  # of the first: they carry the model number that was asked for, and stay ahead of the others

    def head(self, n: int) -> "Order":
        """The first n."""
        return Order(self.rows[:n], self.scores[:n], min(self.exact, n))


class Hit(NamedTuple):
    """One product in its place; twenty are made for each query, and a tuple is made in a third of the time."""

    rank: int  # from 1
    id: str
    score: float  # comparable within one ranking only
    product: bytes  # a serialized millirank.v1.Product, made once, at indexing


@dataclass(frozen=True)
class Timings:
    """Where the time of a query went, in microseconds."""

    tokens: int = 0
    encode_queue: int = 0
    encode: int = 0
    retrieve: int = 0
    render: int = 0
    rerank_queue: int = 0
    rerank: int = 0
    total: int = 0

    @property
    def engines(self) -> int:
        """The wait for the encoder and the reranker, whatever came of it."""
        return self.encode_queue + self.encode + self.rerank_queue + self.rerank

    @property
    def seconds(self) -> dict[str, float]:
        """All of them, in seconds."""
        return {name: micros / 1e6 for name, micros in vars(self).items()}


@dataclass(frozen=True)
class Ranking:
    """One answer: hits in an order, and how it came about."""

    phase: Phase
    hits: tuple[Hit, ...]
    timings: Timings = field(default_factory=Timings)
    rerank_depth: int = 0
    degraded: Degraded | None = None
    index_version: str = ""
    query_truncated: bool = False
