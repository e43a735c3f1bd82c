"""Rows of different lengths packed end to end in one file, and where each starts in another; read through a mapping."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from millirank_engines.pack import Ragged

Rows = Sequence[int] | NDArray[np.integer[Any]]


def packed_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The file of the items and that of the offsets, uint64."""
    return folder / f"{name}.items", folder / f"{name}.offsets"


class PackedWriter:
    """Appends rows to a packed array; a context manager. Memory does not grow with it."""

    def __init__(self, folder: Path, name: str, dtype: DTypeLike) -> None:
        """Makes an empty packed array of items of that type."""
        items, offsets = packed_files(folder, name)
        self._itemsize = np.dtype(dtype).itemsize
        self._end = np.zeros(1, np.uint64)
        self._files = ExitStack()
        self._items = self._files.enter_context(items.open("wb"))
        self._offsets = self._files.enter_context(offsets.open("wb"))
        self._offsets.write(self._end.tobytes())

    def extend(self, rows: Sequence[bytes]) -> None:
        """Appends rows, each the bytes of its items."""
        ends = self._end + np.cumsum([len(row) // self._itemsize for row in rows], dtype=np.uint64)
        self._items.write(b"".join(rows))
        self._offsets.write(ends.tobytes())
        self._end = ends[-1:]

    def __len__(self) -> int:
        """Items so far."""
        return int(self._end[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


class Packed:
    """A packed array, mapped; immutable, so any thread may read it."""

    def __init__(self, folder: Path, name: str, dtype: DTypeLike) -> None:
        """Maps the files that a PackedWriter wrote."""
        items, offsets = packed_files(folder, name)
        self._items = _mapped(items, dtype)
        self._offsets = _mapped(offsets, np.uint64).view(np.int64)  # no file has 2^63 items
        self._bytes, self._places = self._items.view(np.uint8).data, self._offsets.data

    def __len__(self) -> int:
        """Rows."""
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        """The items of a row, shape (n,): a view, nothing is copied."""
        return self._items[int(self._offsets[row]) : int(self._offsets[row + 1])]

    def bytes_of(self, row: int) -> bytes:
        """The bytes of a row's items; in a third of the time of a view's."""
        size = self._items.itemsize
        return bytes(self._bytes[self._places[row] * size : self._places[row + 1] * size])

    def gather(self, rows: Rows) -> Ragged:
        """The items of these rows, where they lie: nothing is copied."""
        index = np.asarray(rows, np.int64)
        starts = self._offsets.take(index)
        return Ragged(self._items, starts, self._offsets.take(index + 1) - starts)

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """How many items each of these rows has."""
        return self.gather(rows).lengths


def _mapped(path: Path, dtype: DTypeLike) -> NDArray[Any]:
    if path.stat().st_size == 0:  # nothing can be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))
