"""What a core is asked for and what it answers; plain token ids and rows, so that any wire can carry them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millirank_engines.pack import Ids, Ragged

from .types import Priority


@dataclass(frozen=True)
class Encoded:
    """A query's embedding, and where the time went."""

    vector: NDArray[np.float32]  # (dim,), of unit length
    queued: float  # seconds
    ran: float  # seconds, with the rest of its batch


@dataclass(frozen=True)
class Reranked:
    """Scores of the first candidates, and where the time went."""

    scores: NDArray[np.float32]  # (depth,): of rows[:depth], in their order; depth is 0 if no time was left
    queued: float  # seconds
    ran: float  # seconds, with the rest of its batch


Result = Encoded | Reranked


@dataclass(frozen=True)
class Backlog:
    """How long a core is busy with what it has accepted: seconds of work, running and waiting, at its present pace."""

    encode: float = 0.0
    rerank: float = 0.0


@dataclass
class Job:
    """One request to the core. The sender owns cancelled; the core owns what is not an argument."""

    done: Callable[[Result | Exception], None]  # called exactly once, from a lane's thread or from submit; never raises
    deadline: float | None  # monotonic seconds
    priority: Priority = field(default=Priority.INTERACTIVE, kw_only=True)
    cancelled: bool = field(default=False, init=False)
    submitted: float = field(default=0.0, init=False)  # monotonic seconds
    sequences: int = field(default=1, init=False)  # that it needs at least
    length: int = field(default=0, init=False)  # tokens of the longest sequence, special ones included


@dataclass
class EncodeJob(Job):
    """A query to embed."""

    ids: Ids


@dataclass
class RerankJob(Job):
    """A query and the candidates to score, in prior order."""

    query: Ids
    rows: NDArray[np.uint32]  # (cap,): products of the snapshot
    snapshot: int
    products: Ragged = field(init=False)  # the rows' tokens, (cap,)
    pairs: NDArray[np.integer] = field(init=False)  # (cap,): tokens of each pair
