"""MPNet in BERT's form, so that its encoders teach what BERT's tokenizer has read.

Song et al. 2020, MPNet: Masked and Permuted Pre-training for Language Understanding. Its vocabulary is that of uncased
BERT behind four ids of its own, its positions begin with the third, it knows no token types, and all layers share a
bias of attention by the distance of two tokens, in buckets as T5's (Raffel et al. 2020).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError

from .tensors import ANCHOR, WORDS

if TYPE_CHECKING:
    from torch import Tensor

RELATIVE = "encoder.relative_attention_bias.weight"  # (buckets, heads)
BUCKETED = "bucketed"  # what config.json calls such positions, once the network is in BERT's form
TYPES = "embeddings.token_type_embeddings.weight"
FARTHEST = 128  # tokens apart, from where on all share a bucket
OWN = 4  # ids before BERT's
POSITIONS = 2  # positions that are for padding
SPECIAL = {"pad": (0, "pad_token_id", 1), "cls": (101, "bos_token_id", 0), "sep": (102, "eos_token_id", 2)}
# by what lists call them: BERT's id, what config.json calls MPNet's, and what that is if it says nothing
NAMES = {
    "attention.attn.q.": "attention.self.query.",
    "attention.attn.k.": "attention.self.key.",
    "attention.attn.v.": "attention.self.value.",
    "attention.attn.o.": "attention.output.dense.",
    "attention.LayerNorm.": "attention.output.LayerNorm.",
}


def as_bert(config: Mapping[str, Any], weights: "Mapping[str, Tensor]") -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """The same network for the ids of uncased BERT, with BERT's names and the biases besides.

    Args:
        config: of config.json.
        weights: with Hugging Face's names, without the family's prefix.
    """
    import torch

    made = {}
    for name, tensor in weights.items():
        known = next((old for old in NAMES if old in name), "")
        made[name.replace(known, NAMES.get(known, ""))] = tensor
    theirs = made[WORDS]
    made[WORDS] = theirs[OWN:].clone()
    for place, called, usual in SPECIAL.values():
        made[WORDS][place] = theirs[config.get(called, usual)]
    made[ANCHOR] = made[ANCHOR][POSITIONS:]
    made[TYPES] = torch.zeros((2, theirs.shape[1]), dtype=theirs.dtype, device=theirs.device)
    changes = {"model_type": "bert", "position_embedding_type": BUCKETED, "vocab_size": len(made[WORDS])}
    changes |= {"max_position_embeddings": len(made[ANCHOR]), "type_vocab_size": 2}
    return {**config, **changes}, made


def is_one(config: Mapping[str, Any]) -> bool:
    """Whether config.json is of an MPNet in BERT's form: it can teach, and no engine is made of it."""
    return bool(config.get("position_embedding_type") == BUCKETED)


def refuse_others(config: Mapping[str, Any], special: Mapping[str, int]) -> None:
    """Refuses an MPNet where what it would read is not of uncased BERT's vocabulary.

    Args:
        config: of a network in BERT's form, MPNet or not.
        special: the ids of cls, sep and pad of what is read.

    Raises:
        EngineError: if it is one, and these are not BERT's.
    """
    theirs = {name: place for name, (place, _, _) in SPECIAL.items()}
    if is_one(config) and dict(special) != theirs:
        raise EngineError(
            f"an MPNet reads what the tokenizer of uncased BERT made, with {theirs}, and this has {dict(special)}: "
            "name a BERT with the tokenizer of your encoder instead"
        )


def buckets(length: int, count: int) -> NDArray[np.int64]:
    """The bucket of each pair of positions, (length, length): [from, to].

    Half of count is for what lies before, half for what lies behind; half of these for single distances, the others
    grow with the logarithm.
    """
    at = np.arange(length)
    away = at[None, :] - at[:, None]
    half = count // 2
    single = half // 2
    distance = np.abs(away)
    grown = np.log(np.maximum(distance, single) / single) / math.log(FARTHEST / single) * (half - single)
    bucket = np.where(distance < single, distance, np.minimum(single + grown.astype(np.int64), half - 1))
    return np.asarray(np.where(away > 0, half + bucket, bucket), np.int64)


def bias(table: "Tensor", length: int) -> "Tensor":
    """What attention adds by distance, (1, heads, length, length), from the (buckets, heads) of RELATIVE."""
    import torch

    count, heads = table.shape
    one_hot = torch.from_numpy(np.eye(count, dtype=np.float32)[buckets(length, count)].reshape(-1, count))
    of_pairs = one_hot.to(table.device) @ table.float()  # a lookup would add its gradient in any order
    return of_pairs.view(length, length, heads).permute(2, 0, 1)[None]
