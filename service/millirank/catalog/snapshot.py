"""A snapshot: all that is derived from one generation of products, aligned on one dense row id, sealed and mapped."""

import errno
import fcntl
import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from millirank.errors import CatalogError
from millirank_engines.artifact import sha256_of
from millirank_engines.model import ModelSpec

from .layout import MANIFEST, SEAL, CatalogFolder, sync
from .packed import Packed, Rows
from .store import ProductReader

FORMAT = 2  # 2: words, model numbers, fusion
IDS = "ids"
TOKENS = "tokens"
RENDERED = "rendered"


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest with the size and hash of every file in a folder, and the seal over it; all made durable."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in files}
    data = orjson.dumps({"format": FORMAT, **manifest, "files": listed}, option=orjson.OPT_INDENT_2)
    (folder / MANIFEST).write_bytes(data)
    (folder / SEAL).write_text(hashlib.sha256(data).hexdigest(), "ascii")
    for path in (*files, folder / MANIFEST, folder / SEAL, *(path.parent for path in files), folder):
        sync(path)


def unseal(folder: Path, *, hashes: bool = True) -> dict[str, Any]:
    """The manifest of a snapshot whose files are what they were when it was sealed.

    Args:
        folder: of the snapshot.
        hashes: whether to hash the files' contents, about a second a gigabyte; sizes are always checked.

    Raises:
        CatalogError: if anything is missing, changed or of another format.
    """

    def refuse(reason: str) -> CatalogError:
        return CatalogError(f"snapshot {folder} is refused, {reason}: make a new one with `millirank index`")

    try:
        data = (folder / MANIFEST).read_bytes()
        sealed = (folder / SEAL).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(f"it is not sealed ({error})") from error
    if hashlib.sha256(data).hexdigest() != sealed:
        raise refuse(f"its {MANIFEST} was changed after it was sealed")
    manifest: dict[str, Any] = orjson.loads(data)
    if manifest.get("format") != FORMAT:
        raise refuse(f"its format is {manifest.get('format')}, this version reads {FORMAT}")
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise refuse(f"{name} is missing")
        if path.stat().st_size != expected["size"]:
            raise refuse(f"{name} has {path.stat().st_size} bytes, it had {expected['size']}")
        if hashes and sha256_of(path) != expected["sha256"]:
            raise refuse(f"{name} was changed after it was sealed")
    return manifest


class Snapshot:
    """An open snapshot. While it is open neither its files nor its products are removed, whatever becomes current.

    Made by open; usable from several threads until close, which its owner calls after the last use.
    """

    def __init__(self, path: Path, held: IO[bytes], manifest: dict[str, Any], store: Path) -> None:
        """Maps a checked folder; takes over the locked seal."""
        self.path = path
        self.manifest = manifest
        self.version = int(manifest["version"])
        self._held = held
        self.tokens = Packed(path, TOKENS, manifest["tokens"]["dtype"])  # the reranker's, of each product
        self._ids = Packed(path, IDS, np.uint8)  # UTF-8
        self._rendered = Packed(path, RENDERED, np.uint8)  # messages
        self._store = ProductReader(store, manifest["store"])

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        encoder: ModelSpec | None = None,
        reranker: ModelSpec | None = None,
        hashes: bool = True,
    ) -> "Snapshot":
        """Opens the current snapshot of a catalogue's folder.

        Args:
            directory: the DIR of `millirank index --out DIR`.
            encoder: the hash (ModelSpec.hash) of the model that will encode queries; None accepts any.
            reranker: likewise of the reranker, whose tokens the snapshot holds.
            hashes: whether to hash every file; a frontend may leave it out where its supervisor has just done so.

        Raises:
            CatalogError: if there is none, it is damaged, or it was made with other models.
        """
        folder = CatalogFolder(directory)
        version = folder.current()
        while version is not None:
            try:
                return cls._open_version(folder, version, {"encoder": encoder, "reranker": reranker}, hashes=hashes)
            except (CatalogError, FileNotFoundError) as error:
                newer = folder.current()
                if newer != version:  # it was replaced and removed while we opened it
                    version = newer
                elif isinstance(error, CatalogError):
                    raise
                else:
                    raise CatalogError(f"snapshot {error.filename} is missing: {_fix(directory)}") from error
        raise CatalogError(f"{directory} holds no snapshot: {_fix(directory)}")

    @classmethod
    def _open_version(
        cls, folder: CatalogFolder, version: int, models: dict[str, ModelSpec | None], *, hashes: bool
    ) -> "Snapshot":
        path = folder.snapshot(version)
        with ExitStack() as files:
            held = files.enter_context((path / SEAL).open("rb"))
            fcntl.flock(held, fcntl.LOCK_SH)
            if os.fstat(held.fileno()).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "removed", str(path))
            manifest = unseal(path, hashes=hashes)
            for role, expected in models.items():
                made_with = manifest[role]
                if expected is not None and expected.hash != made_with["hash"]:
                    raise CatalogError(
                        f"snapshot {path} was made with the {role} {made_with['name']} ({made_with['hash'][:12]}), "
                        f"not with {expected.name} ({expected.hash[:12]}), which serves: "
                        f"index again with `millirank index --catalog FILE --out {folder.root}`"
                    )
            snapshot = cls(path, held, manifest, folder.products)
            files.pop_all()
            return snapshot

    def __len__(self) -> int:
        return len(self.tokens)

    def ids(self, rows: Rows) -> list[str]:
        """The product ids of these rows."""
        return [self._ids.bytes_of(row).decode() for row in rows]

    def products(self, rows: Rows) -> list[dict[str, Any]]:
        """The products of these rows, as they were ingested."""
        return self._store.get(self.ids(rows))

    def rendered(self, rows: Rows) -> list[tuple[str, bytes]]:
        """The id and the serialized millirank.v1.Product of each row; made at indexing, so that a query builds none."""
        return [(id_, self._rendered.bytes_of(row)) for id_, row in zip(self.ids(rows), rows, strict=True)]

    def close(self) -> None:
        """Lets the files and products be removed; nothing may be read afterwards."""
        self._store.close()
        self._held.close()


def _fix(directory: Path) -> str:
    return f"make one with `millirank index --catalog FILE --out {directory}`"
