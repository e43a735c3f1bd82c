"""An engine without a model, for tests: deterministic, and it fails or is slow where it is told to."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .base import EngineError, EngineFailed, Profile, Tensors
from .model import ModelSpec, Task, Template

PROFILES = tuple(Profile(b, n) for b in (1, 2, 4, 8, 16, 32, 64) for n in (16, 32, 64, 96))


class FakeEngine:
    """Texts that share tokens get similar embeddings; products that hold the query's tokens get high scores."""

    def __init__(
        self,
        dim: int = 8,
        *,
        task: Task = "embed",
        profiles: Sequence[Profile] = PROFILES,
        template: Template | None = None,
        fail: Callable[[int], bool] = lambda _: False,
        delay: float | Callable[[int], float] = 0.0,
    ) -> None:
        """Makes an engine that needs nothing.

        Args:
            dim: of the embedding.
            task: what the outputs are.
            profiles: the shapes that it takes.
            template: of its spec.
            fail: told the number of the call, from 0; whether that call raises EngineFailed.
            delay: seconds that a call sleeps, or a function of the call's number that says so.
        """
        self.name = f"fake/{task}"
        self.profiles = tuple(sorted(profiles))
        self.spec = ModelSpec(
            name=self.name,
            task=task,
            hash=f"fake-{task}-{dim}",
            dim=dim if task == "embed" else 1,
            layers=0,
            hidden=dim,
            vocab_size=30522,
            max_length=512,
            cls_id=101,
            sep_id=102,
            pad_id=0,
            template=template or Template(),
        )
        self.calls = 0
        self._shapes = {(p.batch, p.length) for p in self.profiles}
        self._dim, self._fail, self._delay = dim, fail, delay
        self._vectors: dict[int, NDArray[np.float32]] = {}

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """Runs nothing; see Engine."""
        call, self.calls = self.calls, self.calls + 1
        shape = feeds["input_ids"].shape
        if shape not in self._shapes:
            raise EngineError(f"no profile of {self.name} has the shape {shape}: {', '.join(map(str, self.profiles))}")
        if pause := self._delay(call) if callable(self._delay) else self._delay:
            time.sleep(pause)
        if self._fail(call):
            raise EngineFailed(f"{self.name} failed on call {call}, as it was told to")
        pairs = zip(feeds["input_ids"], feeds["attention_mask"], strict=True)
        rows = [self._parts(ids[mask == 1]) for ids, mask in pairs]
        if self.spec.task == "embed":
            return {"embedding": np.stack([self._embedding(tokens) for tokens, _ in rows])}
        return {"score": np.array([_overlap(query, product) for query, product in rows], np.float32)}

    def close(self) -> None:
        """Infer then takes no shape any more."""
        self.profiles, self._shapes = (), set()

    def _parts(self, ids: NDArray[np.generic]) -> tuple[list[int], list[int]]:
        """The tokens before the first separator, and those after it, without special tokens."""
        tokens = [int(i) for i in ids.tolist() if i != self.spec.cls_id]
        end = tokens.index(self.spec.sep_id) if self.spec.sep_id in tokens else len(tokens)
        return tokens[:end], [t for t in tokens[end:] if t != self.spec.sep_id]

    def _vector(self, token: int) -> NDArray[np.float32]:
        if token not in self._vectors:
            self._vectors[token] = np.random.default_rng(token).standard_normal(self._dim, np.float32)
        return self._vectors[token]

    def _embedding(self, tokens: list[int]) -> NDArray[np.float32]:
        total = np.sum([self._vector(t) for t in tokens or [self.spec.cls_id]], axis=0, dtype=np.float32)
        return np.asarray(total / np.linalg.norm(total), np.float32)


def _overlap(query: list[int], product: list[int]) -> float:
    """The share of the query's distinct tokens that the product has."""
    return len(set(query) & set(product)) / max(1, len(set(query)))
