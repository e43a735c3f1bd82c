"""The files of a model's folder that hold values: safetensors, and JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError

SETTINGS = "millirank.json"
WORDS = "embeddings.word_embeddings.weight"
ANCHOR = "embeddings.position_embeddings.weight"  # every network has it, so its key tells the prefix of the family


class ModelRefused(EngineError):
    """A model that is not there, or that the exporter does not cover; the message names what to do instead."""


def read_json(path: Path) -> Any:  # noqa: ANN401 (JSON is what it is)
    """The contents of a JSON file.

    Raises:
        ModelRefused: if it is missing or broken.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelRefused(f"{path} is missing: give the folder of a model saved by save_pretrained") from error
    except ValueError as error:
        raise ModelRefused(f"{path} is not JSON ({error}): download the model again") from error


class TensorFiles(Mapping[str, NDArray[np.float32]]):
    """The tensors of a folder's safetensors, one file or shards, read when asked for and widened to float32.

    Names are those of transformers without the family's prefix ("bert.", "roberta." or none).

    Args:
        folder: where the files lie.
        words: a model whose word embeddings are used, because these files leave them out.
    """

    def __init__(self, folder: Path, words: "TensorFiles | None" = None) -> None:
        from safetensors import safe_open

        self.files = {path.name: path for path in self._paths(folder)}
        found: dict[str, Path] = {}
        for path in self.files.values():
            with safe_open(path, "np") as tensors:
                found.update(dict.fromkeys(tensors.keys(), path))
        anchor = next((key for key in found if key.endswith(ANCHOR)), None)
        if anchor is None:
            raise ModelRefused(f"{folder} holds no {ANCHOR}: give the folder of a BERT, RoBERTa or XLM-RoBERTa network")
        prefix = anchor.removesuffix(ANCHOR)
        self._keys = {}
        for key, path in found.items():
            name = key.removeprefix(prefix).replace("Norm.gamma", "Norm.weight").replace("Norm.beta", "Norm.bias")
            self._keys[name] = (path, key)
        if words is not None:
            if WORDS in self._keys:
                raise ModelRefused(f"{folder} holds {WORDS} itself: take word_embeddings out of its {SETTINGS}")
            path, key = words.origin(WORDS)
            self.files[f"word_embeddings/{path.name}"] = path
            self._keys[WORDS] = (path, key)

    def origin(self, name: str) -> tuple[Path, str]:
        """The file that holds a tensor, and its key there.

        Raises:
            ModelRefused: if no file holds it.
        """
        try:
            return self._keys[name]
        except KeyError as error:
            raise ModelRefused(
                f"no tensor {name} in {', '.join(map(str, self.files.values()))}: save the whole model, "
                f"or name a model with the same embeddings as word_embeddings in {SETTINGS}"
                if name == WORDS
                else f"no tensor {name} in {', '.join(map(str, self.files.values()))}: save the whole model"
            ) from error

    @staticmethod
    def _paths(folder: Path) -> tuple[Path, ...]:
        single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
        if index.is_file() and not single.is_file():
            paths = tuple(folder / name for name in sorted(set(read_json(index)["weight_map"].values())))
            for path in paths:
                if not path.is_file():
                    raise ModelRefused(f"{path} is missing, but {index.name} names it: download the model again")
            return paths
        if not single.is_file():
            raise ModelRefused(
                f"{single} is missing: save the model with safetensors, `model.save_pretrained(folder)` "
                "in transformers 5 (other formats can run code when loaded and are never read)"
            )
        return (single,)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        from safetensors import safe_open

        path, key = self.origin(name)
        with safe_open(path, "np") as tensors:
            return np.asarray(tensors.get_tensor(key)).astype(np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        from safetensors import safe_open

        path, key = self.origin(name)
        with safe_open(path, "np") as tensors:
            return tuple(tensors.get_slice(key).get_shape())

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
