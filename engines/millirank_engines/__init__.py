"""Inference engines for ranking models: built offline, sealed, only loaded when serving."""

import sys

from .artifact import read_manifest
from .base import (
    ArtifactRefused,
    BackendUnavailable,
    DeviceLost,
    Engine,
    EngineError,
    EngineFailed,
    Profile,
    Tensors,
    cheapest_profile,
)
from .fake import FakeEngine
from .figures import Check, Choice, Figure
from .load import LoadedEngine, open_engine
from .manifest import Manifest
from .model import ModelSpec, Task, Template
from .pack import pack_pairs, pack_sequences, pair_length

__all__ = [
    "ArtifactRefused",
    "BackendUnavailable",
    "Check",
    "Choice",
    "DeviceLost",
    "Engine",
    "EngineError",
    "EngineFailed",
    "FakeEngine",
    "Figure",
    "LoadedEngine",
    "Manifest",
    "ModelSpec",
    "Profile",
    "Task",
    "Template",
    "Tensors",
    "cheapest_profile",
    "open_engine",
    "pack_pairs",
    "pack_sequences",
    "pair_length",
    "read_manifest",
]

# Importing openvino forks a process that reports its use to its maker; it does without where that module is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
