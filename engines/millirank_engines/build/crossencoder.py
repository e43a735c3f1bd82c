"""A BERT cross-encoder for training: functions over a dictionary of tensors that keep Hugging Face's names.

The network is that of Devlin et al. 2019, with one logit on the pooled first token; word embeddings are frozen.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millirank_engines.base import EngineError

from . import mpnet
from .tensors import SETTINGS, WORDS
from .torchpack import Pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """What the configuration says of the network."""

    layers: int
    hidden: int
    heads: int
    eps: float
    dropout: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Shape":
        """From config.json.

        Raises:
            EngineError: if it is neither a BERT with GELU and absolute positions nor an MPNet in its form.
        """
        kind = config.get("model_type"), config.get("hidden_act"), config.get("position_embedding_type", "absolute")
        if kind not in {("bert", "gelu", "absolute"), ("bert", "gelu", mpnet.BUCKETED)}:
            raise EngineError(f"cannot train {kind}: start from a BERT with gelu and absolute positions, or an MPNet")
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            eps=config["layer_norm_eps"],
            dropout=config.get("hidden_dropout_prob", 0.1),
        )


def load(folder: Path, device: str) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """The configuration and the FP32 weights of an encoder or cross-encoder in a Hugging Face folder.

    A folder that shares another model's word embeddings, as those that `save` writes do, gets them from there.

    Raises:
        EngineError: if the folder holds no model.
    """
    from safetensors.torch import load_file

    from .source import resolve_source

    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        raw = load_file(folder / "model.safetensors")
        if donor := settings(folder).get("word_embeddings"):
            raw[WORDS] = load(resolve_source(donor), "cpu")[1][WORDS]
    except FileNotFoundError as error:
        raise EngineError(
            f"{folder} holds no model ({error}): name one with config.json and model.safetensors"
        ) from error
    weights = {name.removeprefix("bert.").removeprefix("mpnet."): tensor for name, tensor in raw.items()}
    weights = {n: t.to(device).float() for n, t in weights.items() if not n.endswith("position_ids")}
    return mpnet.as_bert(config, weights) if config.get("model_type") == "mpnet" else (config, weights)


def settings(folder: Path) -> dict[str, Any]:
    """What millirank.json says of a model's template and word embeddings; nothing where there is none."""
    path = folder / SETTINGS
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def shallow(
    config: Mapping[str, Any], weights: "Mapping[str, Tensor]", layers: int
) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """A network of fewer layers, evenly spaced among those of another and with its last: of six 2, 4 and 6 make three.

    Args:
        config: of the deeper network.
        weights: of the deeper network; the tensors are shared.
        layers: how many; 0 keeps all.

    Raises:
        EngineError: if there are not so many.
    """
    have = int(config["num_hidden_layers"])
    if not 0 <= layers <= have:
        raise EngineError(
            f"--layers {layers} of a network of {have}: take at most {have}, or start from a deeper --init"
        )
    kept = kept_layers(have, layers or have)
    new = {f"encoder.layer.{old}.": f"encoder.layer.{place}." for place, old in enumerate(kept)}
    made = {}
    for name, tensor in weights.items():
        prefix = ".".join(name.split(".")[:3]) + "."
        if not name.startswith("encoder.layer."):
            made[name] = tensor
        elif prefix in new:
            made[new[prefix] + name.removeprefix(prefix)] = tensor
    return {**config, "num_hidden_layers": len(kept)}, made


def kept_layers(have: int, want: int) -> list[int]:
    """The places from 0 of want evenly spaced layers of have, the last among them."""
    return [round((i + 1) * have / want) - 1 for i in range(want)]


def add_head(weights: "dict[str, Tensor]", hidden: int, seed: int) -> None:
    """Adds what a network lacks of a head, the pooler too, drawn as BERT's are: normal, deviation 0.02; biases 0."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    device = weights[WORDS].device
    for name, rows in (("pooler.dense", hidden), ("classifier", 1)):
        if f"{name}.weight" not in weights:
            weights[f"{name}.weight"] = (torch.randn((rows, hidden), generator=generator) * 0.02).to(device)
            weights[f"{name}.bias"] = torch.zeros(rows, device=device)


def states(weights: "Mapping[str, Tensor]", shape: Shape, inputs: Pairs, *, train: bool = False) -> "Iterator[Tensor]":
    """Each layer's output in turn, (n, length, hidden); with dropout from the global generator where train."""
    import torch
    from torch.nn import functional as f

    def linear(x: "Tensor", name: str) -> "Tensor":
        return f.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: "Tensor", name: str) -> "Tensor":
        return f.layer_norm(x, (shape.hidden,), weights[f"{name}.weight"], weights[f"{name}.bias"], shape.eps)

    def drop(x: "Tensor") -> "Tensor":
        return f.dropout(x, shape.dropout, train)

    n, length = inputs.ids.shape
    types = weights["embeddings.token_type_embeddings.weight"]
    x = f.embedding(inputs.ids, weights[WORDS]) + weights["embeddings.position_embeddings.weight"][:length]
    x = x + types[0] + inputs.types[:, :, None] * (types[1] - types[0])  # a lookup would add its gradient in any order
    x = drop(norm(x, "embeddings.LayerNorm"))
    bias = torch.zeros((n, 1, 1, length), device=x.device).masked_fill(~inputs.mask[:, None, None, :], -1e4)
    if mpnet.RELATIVE in weights:
        bias = bias + mpnet.bias(weights[mpnet.RELATIVE], length)
    for number in range(shape.layers):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{part}").view(n, length, shape.heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        attention = torch.softmax(q @ k.transpose(2, 3) * q.shape[3] ** -0.5 + bias, 3)
        mixed = (drop(attention).to(v.dtype) @ v).transpose(1, 2).reshape(n, length, shape.hidden)
        x = norm(drop(linear(mixed, f"{layer}.attention.output.dense")) + x, f"{layer}.attention.output.LayerNorm")
        grown = f.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(drop(linear(grown, f"{layer}.output.dense")) + x, f"{layer}.output.LayerNorm")
        yield x


def score(weights: "Mapping[str, Tensor]", shape: Shape, last: "Tensor", *, train: bool = False) -> "Tensor":
    """The score of each pair, float32 (n,), from the last of its states; with dropout where train."""
    import torch
    from torch.nn import functional as f

    pooled = torch.tanh(f.linear(last[:, 0], weights["pooler.dense.weight"], weights["pooler.dense.bias"]))
    dropped = f.dropout(pooled, shape.dropout, train)
    return f.linear(dropped, weights["classifier.weight"], weights["classifier.bias"])[:, 0].float()


def last_state(weights: "Mapping[str, Tensor]", shape: Shape, inputs: Pairs) -> "Tensor":
    """The last layer's output, (n, length, hidden); those before are let go."""
    return deque(states(weights, shape, inputs), maxlen=1).pop()


def logits(weights: "Mapping[str, Tensor]", shape: Shape, pairs: Pairs) -> "Tensor":
    """The score of each pair by a network with a head, float32 (n,)."""
    return score(weights, shape, last_state(weights, shape, pairs))


def save(weights: "Mapping[str, Tensor]", config: Mapping[str, Any], folder: Path) -> None:
    """Writes config.json and model.safetensors: FP16, with Hugging Face's names, without the frozen word embeddings."""
    from safetensors.torch import save as to_bytes

    halves = {
        name if name.startswith("classifier") else f"bert.{name}": tensor.detach().half().cpu().contiguous()
        for name, tensor in weights.items()
        if name != WORDS
    }
    (folder / "model.safetensors").write_bytes(to_bytes(halves, {"format": "pt"}))
    written = {
        **{k: v for k, v in config.items() if k not in {"_name_or_path", "architectures", "transformers_version"}},
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "relevance"},
        "label2id": {"relevance": 0},
        "num_labels": 1,
    }
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
