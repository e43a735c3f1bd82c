"""Token ids into the padded tensors that training reads, on its device; see millirank_engines.pack for engines'."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """n pairs as [CLS] query [SEP] product [SEP], or texts as [CLS] text [SEP], padded to one length; on the device."""

    ids: "Tensor"  # int64 (n, length)
    mask: "Tensor"  # bool (n, length)
    types: "Tensor"  # int64 (n, length): 0 for the query, 1 for the product and its [SEP]


def pack(
    query: "Tensor",
    query_lengths: "Tensor",
    product: "Tensor",
    product_lengths: "Tensor",
    length: int,
    special: Mapping[str, int],
) -> Pairs:
    """What millirank_engines.pack.pack_pairs makes, for a model with one separator, on the device at once.

    Args:
        query: int64 (n, any), the ids of each pair's query, padded.
        query_lengths: int64 (n,).
        product: int64 (n, any), likewise.
        product_lengths: int64 (n,).
        length: of the longest pair, special tokens included, or more.
        special: the ids of cls, sep and pad.
    """
    import torch

    at = torch.arange(length, device=query.device).expand(len(query), length)
    start = query_lengths[:, None] + 2
    end = start + product_lengths[:, None]
    from_query = query.gather(1, (at - 1).clamp(0, query.shape[1] - 1))
    from_product = product.gather(1, (at - start).clamp(0, product.shape[1] - 1))
    inner = torch.where(at == start - 1, special["sep"], torch.where(at < start, from_query, from_product))
    ids, mask = _framed(inner, at, end, special)
    return Pairs(ids, mask, ((at >= start) & mask).long())


def pack_texts(text: "Tensor", lengths: "Tensor", length: int, special: Mapping[str, int]) -> Pairs:
    """Texts as an encoder reads them, on the device.

    Args:
        text: int64 (n, any), ids, padded.
        lengths: int64 (n,).
        length: of the longest text, special tokens included, or more.
        special: the ids of cls, sep and pad.
    """
    import torch

    at = torch.arange(length, device=text.device).expand(len(text), length)
    end = lengths[:, None] + 1
    ids, mask = _framed(text.gather(1, (at - 1).clamp(0, text.shape[1] - 1)), at, end, special)
    return Pairs(ids, mask, torch.zeros_like(ids))


def _framed(inner: "Tensor", at: "Tensor", end: "Tensor", special: Mapping[str, int]) -> "tuple[Tensor, Tensor]":
    """Ids between [CLS] and the [SEP] at each end, then padding, and the mask of what is none; all (n, length)."""
    import torch

    ids = torch.where(at == 0, special["cls"], torch.where(at == end, special["sep"], inner))
    mask = at <= end
    return torch.where(mask, ids, special["pad"]), mask
