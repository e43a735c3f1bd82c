"""A finished folder takes its place at once: whoever looks sees the old one or the new one, never a part."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millirank_engines.base import EngineError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fs.h


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A new folder beside out, named after this process; removed at the end if it is still there.

    Raises:
        EngineError: if none can be made there.
    """
    folder = out.parent / f".{out.name}.building.{os.getpid()}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        clean_leftovers(out)
        folder.mkdir()
    except OSError as error:
        raise EngineError(f"{out} cannot be made ({error.strerror}): choose another --out") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(new: Path, out: Path) -> None:
    """Puts new where out is and removes the old out.

    Linux exchanges both names in one step. Elsewhere the old folder is moved aside first: if the process is killed
    between the two steps, the next clean_leftovers puts the old one back.
    """
    old = out.parent / f".{out.name}.old.{os.getpid()}"
    if not out.exists():
        new.replace(out)
    elif _exchange(new, out):
        shutil.rmtree(new)
    else:
        out.replace(old)
        new.replace(out)
        shutil.rmtree(old)


def clean_leftovers(out: Path) -> None:
    """Removes what killed builds of out left beside it; puts the old folder back if it was only moved aside."""
    for kind in ("old", "building"):
        for folder in out.parent.glob(f".{out.name}.{kind}.*"):
            if _alive(folder.suffix[1:]):
                continue
            if kind == "old" and not out.exists():
                folder.replace(out)
            else:
                shutil.rmtree(folder)


def refuse_foreign(out: Path, known: str) -> None:
    """Refuses to replace what no build made.

    Raises:
        EngineError: if out is a file, or a folder with files but without the one called known.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / known).exists())):
        raise EngineError(f"{out} exists and is no artifact, so it is not replaced: choose another --out")


def _alive(pid: str) -> bool:
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exchange(a: Path, b: Path) -> bool:
    """Exchanges two paths atomically; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return int(rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)) == 0
