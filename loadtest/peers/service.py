"""The same service on a peer's engines: all that is replaced is what opens an artifact."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import millirank_engines
from millirank_engines.artifact import read_manifest
from millirank_engines.load import LoadedEngine

PEER = "MILLIRANK_PEER"  # names the peer in a process's environment
PRECISIONS = {"torch-eager": "fp16", "torch-eager-fp32": "fp32"}


def install(peer: str) -> None:
    """From now on this process opens artifacts with a peer; before anything of millirank is imported."""

    def open_engine(path: Path, **_: object) -> LoadedEngine:
        from .torch_bert import TorchEngine

        manifest = read_manifest(path)
        model = manifest.model
        engine = TorchEngine(model.name, model.task, manifest.profiles, PRECISIONS[peer])
        return LoadedEngine(engine, model, path / "tokenizer.json", manifest)

    millirank_engines.open_engine = open_engine


@contextmanager
def served_by(peer: str) -> Iterator[None]:
    """Processes that are started meanwhile serve with a peer; with our own engines if it is empty."""
    kept = {name: os.environ.get(name) for name in (PEER, "PYTHONPATH")}
    if peer:
        site = str(Path(__file__).parent / "site")
        os.environ[PEER] = peer
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [site, kept["PYTHONPATH"]]))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
