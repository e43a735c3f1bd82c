"""The folder of a catalogue: where its files lie, who may write, and which snapshot is current.

DIR/products.lmdb     the products, by id
DIR/snapshots/N       what is derived from them, sealed: indexes, packed tokens, ids, rendered messages
DIR/CURRENT           names N; replaced atomically
DIR/LOCK              held by the one writer
DIR/engines           sealed engines: encoder, reranker
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from millirank.errors import CatalogError

SEAL = "SEAL"
MANIFEST = "manifest.json"
_BUILDING = ".building"


def sync(path: Path) -> None:
    """Makes a file, or a folder's list of names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class CatalogFolder:
    """A catalogue on disk."""

    root: Path

    @property
    def products(self) -> Path:
        """The product store."""
        return self.root / "products.lmdb"

    @property
    def engines(self) -> Path:
        """The sealed engines."""
        return self.root / "engines"

    def snapshot(self, version: int) -> Path:
        """The folder of a snapshot."""
        return self.root / "snapshots" / str(version)

    def current(self) -> int | None:
        """The version of the current snapshot; None before the first.

        Raises:
            CatalogError: if CURRENT does not hold a number.
        """
        try:
            text = (self.root / "CURRENT").read_text("ascii")
        except FileNotFoundError:
            return None
        if not text.strip().isdigit():
            raise CatalogError(
                f"{self.root / 'CURRENT'} names no snapshot: run `millirank index --out {self.root}` again"
            )
        return int(text)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Makes this process the one writer, until the block ends or the process dies.

        Raises:
            CatalogError: if another process writes.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "LOCK").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                pid = file.read().strip() or "?"
                raise CatalogError(
                    f"another process (pid {pid}) writes {self.root}: wait for its end, or stop it with `kill {pid}`"
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def building(self) -> tuple[int, Path]:
        """The next snapshot's version, and an empty folder for it; the caller holds the lock and has cleaned."""
        folder = self.root / "snapshots" / _BUILDING
        folder.mkdir(parents=True)
        versions = [int(path.name) for path in folder.parent.iterdir() if path.name.isdigit()]
        return max([self.current() or 0, *versions]) + 1, folder

    def publish(self, building: Path, version: int) -> None:
        """Moves a sealed folder into place and makes it current, in two atomic steps; the caller holds the lock."""
        building.rename(self.snapshot(version))
        sync(building.parent)
        temporary = self.root / "CURRENT.new"
        temporary.write_text(f"{version}\n", "ascii")
        sync(temporary)
        temporary.replace(self.root / "CURRENT")
        sync(self.root)

    def clean(self) -> set[str]:
        """Removes what is neither current nor held by a reader; the caller holds the lock.

        Returns:
            The product generations that the snapshots left behind name.
        """
        generations = set()
        current = self.current()
        for folder in sorted((self.root / "snapshots").glob("*")):
            if folder.name == str(current) or not _remove(folder):
                generations.add(str(orjson.loads((folder / MANIFEST).read_bytes())["store"]))
        return generations


def _remove(folder: Path) -> bool:
    """Removes a snapshot unless a reader holds it: readers keep a shared lock on its seal."""
    try:
        with (folder / SEAL).open("rb") as seal:
            fcntl.flock(seal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except FileNotFoundError:  # never sealed, so never read
        shutil.rmtree(folder)
    except BlockingIOError:
        return False
    return True
