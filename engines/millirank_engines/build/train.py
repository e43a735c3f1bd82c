"""Distils a cross-encoder from mined lists into a folder that `millirank engine build` takes.

Needs torch, numpy and safetensors, and of millirank this package only: mining may have run on another machine.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from millirank_engines.base import BackendUnavailable, EngineError

from . import crossencoder as net
from .card import write_card
from .lists import Lists
from .settings import Settings
from .teach import Teacher, Tell, taught
from .trainer import Held, Tick, Trainer

__all__ = ["Held", "Settings", "Teacher", "Tick", "distil"]

CHECKPOINT = "checkpoint.pt"
RECORD = "training.json"  # what was done and how it went; written when all else is there
CARDED = ("catalogues", "recipe", "encoder", "word_embeddings", "pseudo_queries")  # of the mined lists
COUNTED = ("held_out", "judged_queries")  # the queries themselves may not be ours to publish


def first_device() -> str:
    """Where training runs if nobody says so: cuda where there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def distil(  # noqa: PLR0913 - who is told of what stands beside what is made of what
    work: Path,
    init: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    teachers: Sequence[Teacher] = (),
    device: str | None = None,
    checkpoint_every: int = 200,
    command: str | None = None,
    words: str | None = None,
    tell: Callable[[Tick], None] = lambda tick: None,  # noqa: ARG005
    tell_teaching: Tell = lambda done, of: None,  # noqa: ARG005
) -> list[Held]:
    """Trains, and writes a Hugging Face folder without word embeddings, with a model card.

    The same work, init and settings give the same weights on the same device, also when a run that was broken off goes
    on from its checkpoint.

    Args:
        work: the folder that mining made.
        init: folder of the encoder, or of a cross-encoder, to start from.
        out: the folder to write; a finished one of the same inputs is left as it is.
        settings: how to train.
        teachers: cross-encoders and sentence encoders that join the mined scores.
        device: cuda or cpu; None takes the first that is there.
        checkpoint_every: steps.
        command: what was typed to come here, for the model card.
        words: how the model is found whose word embeddings init has, where it has its own; None takes what the lists
            were mined for.
        tell: is told of every step.
        tell_teaching: is told how many pairs the teachers have scored.

    Returns:
        The held-out figures of each epoch.

    Raises:
        BackendUnavailable: if torch is missing.
        EngineError: if work, init, a teacher or out cannot be used, or memory ends.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise BackendUnavailable("torch", "`pip install 'millirank[train]'`") from error
    settings = settings or Settings()
    lists = Lists.open(work)
    key = _key(lists, init, settings, teachers)
    record = _record(out)
    if record is not None:
        if record["key"] != key:
            raise EngineError(f"{out} holds a model of other inputs: delete it or choose another --out")
        return [Held(**held) for held in record["held"]]
    out.mkdir(parents=True, exist_ok=True)
    device = device or first_device()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS has no fixed order of adding
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # noqa: FBT003
    try:
        lists = lists.mixed(dict(settings.mix)) if settings.mix else lists
        lists = taught(lists, work, teachers, device, mined_weight=settings.mined_weight, tell=tell_teaching)
        trainer = Trainer(lists, init, settings, device)
        held = trainer.run(out / CHECKPOINT, key, checkpoint_every, tell)
    except (torch.OutOfMemoryError, MemoryError) as error:
        fix = f"take fewer than {settings.lists} lists a step with --lists, or fewer candidates with --candidates"
        raise EngineError(f"memory of {device} ended ({type(error).__name__}): {fix}; training goes on") from error
    finally:
        torch.use_deterministic_algorithms(before)
    net.save(trainer.weights, trainer.config, out)
    manifest = lists.manifest
    words = net.settings(init).get("word_embeddings", words or manifest["word_embeddings"])
    template = {**manifest["template"], "product_tokens": settings.served_tokens}
    _write(out / "millirank.json", {"template": template, "word_embeddings": words})
    call = f"distil({work.name!r}, {init.name!r}, {out.name!r}, {settings})"
    record = {
        "key": key,
        "command": command or call,
        "settings": asdict(settings),
        "init": init.name,
        "layers": trainer.config["num_hidden_layers"],
        "teachers": [{"name": t.folder.name, "weight": t.weight, "sha256": t.digest} for t in teachers],
        "held": [asdict(h) for h in held],
        "mined": {name: manifest[name] for name in CARDED} | {name: len(manifest[name]) for name in COUNTED},
        "template": template,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "CPU",
    }
    write_card(out, record)
    _write(out / RECORD, record)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return held


def _key(lists: Lists, init: Path, settings: Settings, teachers: Sequence[Teacher]) -> str:
    """What a run depends on, hashed."""
    inputs = [lists.manifest["lists_sha256"], asdict(settings), [(t.key, t.weight) for t in teachers]]
    try:
        inputs += [
            hashlib.sha256((init / file).read_bytes()).hexdigest() for file in ("config.json", "model.safetensors")
        ]
    except FileNotFoundError as error:
        raise EngineError(
            f"{init} holds no model ({error}): name one with config.json and model.safetensors"
        ) from error
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _record(out: Path) -> dict[str, Any] | None:
    path = out / RECORD
    record: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return record


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
