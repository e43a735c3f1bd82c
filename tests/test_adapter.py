"""The adapter of query vectors that `loadtest/adapter.py` tries."""

from pathlib import Path

import numpy as np
import pytest
from train_kit import needs_torch

from millirank_engines.build.lists import TEACHER, Lists, Packed

LOADTEST = str(Path(__file__).parent.parent / "loadtest")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)


def unit(values: "np.ndarray") -> "np.ndarray":
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_no_adapter_leaves_queries_as_they_are_and_any_keeps_their_length() -> None:
    from adapter import adapted

    rng = np.random.default_rng(2)
    queries = unit(rng.normal(size=(5, 4)))
    np.testing.assert_allclose(adapted(queries, np.zeros((4, 4), np.float32)), queries, rtol=1e-6)
    moved = adapted(queries, rng.normal(size=(4, 4)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, rtol=1e-6)
    assert not np.allclose(moved, queries)


@needs_torch
def test_an_adapter_turns_queries_to_what_the_teacher_names_and_decay_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import adapter

    monkeypatch.setattr(adapter, "LR", 0.05)
    rng = np.random.default_rng(3)
    products = unit(rng.normal(size=(40, 8)))
    right = rng.integers(0, 40, 300)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    queries = unit(products[right] @ turn)  # the encoder reads them in a way that can be undone
    rows = np.array([[one, *rng.choice(np.delete(np.arange(40), one), 5, replace=False)] for one in right])
    parts = np.zeros((300, 6, 3), np.float32)
    parts[:, 0, 2] = 4
    mined = adapter.Mined(queries, rows, parts)

    def found(made: "np.ndarray") -> float:
        return float(np.mean((adapter.adapted(queries, made) @ products.T).argmax(1) == right))

    learned = adapter.learned(mined, products, (0.0, 0.0, 1.0), 0.001)
    assert found(np.zeros((8, 8), np.float32)) < 0.2
    assert found(learned) > 0.5
    held = adapter.learned(mined, products, (0.0, 0.0, 1.0), 10.0)
    assert np.linalg.norm(held) < np.linalg.norm(learned) / 3
    assert (adapter.learned(mined, products, (0.0, 0.0, 1.0), 0.001) == learned).all()


def test_lists_of_another_catalogue_are_refused() -> None:
    from adapter import Mined

    lists = Lists(
        queries=Packed.of([[5]], 4, "uint16"),
        products=Packed.of([[5]], 4, "uint16"),
        query=np.zeros(1, np.int32),
        rows=np.zeros((1, 1), np.int32),
        targets=np.zeros((1, 1), np.float32),
        parts=np.zeros((1, 1, 3), np.float16),
        kind=np.full(1, TEACHER, np.uint8),
        source=np.zeros(1, np.uint8),
        manifest={"catalogues": [{"name": "shop", "products": 1}]},
    )
    with pytest.raises(SystemExit, match=r"mined were shop, not other: mine it with .*--mine-only"):
        Mined.of(lists, "other", None)  # type: ignore[arg-type]
