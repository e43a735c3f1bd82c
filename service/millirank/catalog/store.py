"""The products themselves, by id, in LMDB: the source of truth that every snapshot is derived from.

One file holds several generations, each in a named sub-database of its own ("products/0", "products/1" …). A generation
is written once and never changed; its snapshot's manifest names it, and its name is used again once no snapshot does.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from millirank.errors import CatalogError

MAP_SIZE = 1 << 40  # bytes of address space, mapped at once: growing later would raise MapResizedError in readers
MAX_GENERATIONS = 32
TRANSACTION_BYTES = 32 << 20  # products written between two commits, so that memory stays bounded

_open: dict[Path, tuple[Any, int]] = {}  # environments open for reading: LMDB allows one a file and process; users
_open_lock = threading.Lock()


def _environment(path: Path, *, readonly: bool) -> Any:  # noqa: ANN401 - lmdb has no types
    import lmdb

    try:
        return lmdb.open(str(path), subdir=False, map_size=MAP_SIZE, max_dbs=MAX_GENERATIONS, readonly=readonly)
    except lmdb.Error as error:
        fix = (
            "close the snapshots that this process holds, or index in a process of its own"
            if "already open" in str(error)
            else "the file needs a local disk with sparse files, write permission beside it for its lock file, "
            f"and {MAP_SIZE >> 40} TiB of address space (`ulimit -v unlimited`)"
        )
        raise CatalogError(f"the product store {path} cannot be opened ({error}): {fix}") from error


class ProductReader:
    """One generation of products, read only; usable from several threads.

    Each call reads in a short transaction, so that no reader keeps the file from reusing its pages. What keeps the
    generation itself is the snapshot that names it.
    """

    def __init__(self, path: Path, generation: str) -> None:
        """Opens a generation.

        Raises:
            CatalogError: if the file or the generation is not there.
        """
        import lmdb

        self._path = path.resolve()
        with _open_lock:
            if not self._path.is_file():
                raise CatalogError(f"there is no product store {path}: make one with `millirank index`")
            environment, users = _open.get(self._path) or (_environment(self._path, readonly=True), 0)
            _open[self._path] = environment, users + 1
        self._environment: Any = environment
        try:
            self._database = environment.open_db(generation.encode(), create=False)
        except lmdb.Error as error:
            self.close()
            raise CatalogError(f"{path} has no generation {generation}: run `millirank index` again") from error

    def get(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The products with these ids, in their order.

        Raises:
            CatalogError: if one is not there.
        """
        with self._environment.begin(db=self._database) as transaction:
            found = [transaction.get(id_.encode()) for id_ in ids]
        if None in found:
            missing = ids[found.index(None)]
            raise CatalogError(f"{self._path} has lost product {missing}: run `millirank index` again")
        return [orjson.loads(product) for product in found]

    def close(self) -> None:
        """Gives the file back; it is closed with its last reader."""
        if self._environment is None:
            return
        self._environment = None
        with _open_lock:
            environment, users = _open.pop(self._path)
            if users > 1:
                _open[self._path] = environment, users - 1
            else:
                environment.close()


class ProductWriter:
    """The only writer of a product store; its owner holds the catalogue's lock."""

    def __init__(self, environment: Any, generations: Collection[str]) -> None:  # noqa: ANN401 - lmdb has no types
        """Takes an open environment and the generations that snapshots still name; others are dropped."""
        self._environment = environment
        self.keep(generations)
        names = (f"products/{number}" for number in range(MAX_GENERATIONS))
        self.generation = next(name for name in names if name not in generations)
        self._database = environment.open_db(self.generation.encode())
        self._transaction: Any = None
        self._bytes = 0

    def keep(self, generations: Collection[str]) -> None:
        """Drops every other generation; a reader that has a transaction open keeps what it sees."""
        with self._environment.begin(write=True) as transaction:
            names = [bytes(name) for name, _ in transaction.cursor()]
            for name in names:
                if name.decode() not in generations:
                    transaction.drop(self._environment.open_db(name, txn=transaction, create=False))

    def add(self, product: Mapping[str, Any]) -> bool:
        """Adds a product; False, and nothing changes, where its id is there already."""
        if self._transaction is None:
            self._transaction = self._environment.begin(write=True, db=self._database)
        key, value = product["id"].encode(), orjson.dumps(product)
        if not self._transaction.put(key, value, overwrite=False):
            return False
        self._bytes += len(key) + len(value)
        if self._bytes >= TRANSACTION_BYTES:
            self.commit()
        return True

    def commit(self) -> None:
        """Makes what was added durable and visible."""
        if self._transaction is not None:
            self._transaction.commit()
            self._transaction, self._bytes = None, 0

    def get(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The committed products with these ids, in their order; every one must have been added."""
        with self._environment.begin(db=self._database) as transaction:
            return [orjson.loads(transaction.get(id_.encode())) for id_ in ids]

    def abort(self) -> None:
        """Forgets what was not committed."""
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None


@contextmanager
def writing(path: Path, generations: Collection[str]) -> Iterator[ProductWriter]:
    """Opens a product store to write one new generation beside those that snapshots still name.

    Raises:
        CatalogError: if the file cannot be opened or written.
    """
    import lmdb

    environment = _environment(path, readonly=False)
    try:
        environment.reader_check()  # frees the slots of readers that were killed
        writer = ProductWriter(environment, generations)
        try:
            yield writer
        finally:
            writer.abort()
    except lmdb.Error as error:
        raise CatalogError(f"the product store {path} cannot be written ({error}): is the disk full?") from error
    finally:
        environment.close()
