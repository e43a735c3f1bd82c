"""A model's widths and lengths, by its config.json and its graph: what leaves tensor cores idle, what is too long."""

from collections.abc import Iterator, Mapping
from typing import Any

from .finding import Finding, Severity, places
from .fusion import attentions
from .view import GraphView, Node

UNIT, TILE = 8, 64  # halves: what tensor cores load at once (16 bytes), and the width of the tiles that fill them
FEW = 8  # a head of at most so many outputs is no work
WIDTHS = ("hidden_size", "intermediate_size")
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
# Keys of config.json that say that a token does not attend to all others; what follows counts as a value of "no".
SPARSE = ("attention_window", "sliding_window", "local_attention", "attn_layers", "num_landmarks", "block_size")
SPARSE_TYPES = {"block_sparse", "sparse", "local", "lsh", "sliding_attention", "linear"}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_tok")


def configured(config: Mapping[str, Any]) -> Iterator[Finding]:
    """What config.json alone tells: widths, sparse attention, experts."""
    hidden, heads = int(config.get("hidden_size") or 0), int(config.get("num_attention_heads") or 0)
    if hidden and heads:
        if hidden % heads and "head_dim" not in config:
            what = f"hidden width {hidden} does not divide by {heads} heads"
            yield Finding(Severity.blocks, "config.json", what, "choose a number of heads that divides it")
        else:
            yield from head_width(int(config.get("head_dim") or hidden // heads), "config.json, num_attention_heads")
    for key in WIDTHS:
        if width := int(config.get(key) or 0):
            yield from _width(width, f"config.json, {key}")
    kinds = {str(config.get("attention_type", "")), *map(str, config.get("layer_types") or ())}
    keys = [k for k in SPARSE if config.get(k) and k != "block_size"]
    if keys or kinds & SPARSE_TYPES:
        said = ", ".join([*keys, *sorted(kinds & SPARSE_TYPES)])
        what = f"sparse attention ({said}): gathers and scatters keep it from fusing"
        fix = "attend densely: below some thousand tokens it is faster than sparse attention, and it fuses"
        yield Finding(Severity.slows, "config.json", what, fix)
    if experts := [key for key in EXPERTS if isinstance(config.get(key), int) and config[key] > 1]:
        what = f"mixture of experts ({', '.join(experts)}): tokens are routed by a choice made at run time"
        fix = "use a dense feed-forward layer, or run all experts and weigh their outputs"
        yield Finding(Severity.slows, "config.json", what, fix)


def head_width(width: int, where: str) -> Iterator[Finding]:
    """What the width of an attention head leaves idle."""
    if width % UNIT:
        what = f"heads are {width} wide, no multiple of {UNIT}: fused attention kernels do not take them"
        yield Finding(Severity.slows, where, what, f"use heads of {TILE}: fewer heads, or a wider model")
    elif width < TILE:
        what = (
            f"heads are {width} wide: a product over so few channels fills {width} of a tile's {TILE}, "
            "and each head's Softmax costs as much as a wide one's"
        )
        yield Finding(Severity.slows, where, what, f"use heads of {TILE}: {TILE // width} times fewer of them")


def _width(width: int, where: str) -> Iterator[Finding]:
    if width % UNIT:
        what = (
            f"{width} channels are no multiple of {UNIT}: their rows are not aligned to 16 bytes, "
            "so products are padded or run on slower kernels"
        )
    elif width % TILE:
        idle = 1 - width / (-(-width // TILE) * TILE)
        what = f"{width} channels are no multiple of {TILE}: the last tile is filled in part, {idle:.0%} of all is idle"
    else:
        return
    yield Finding(Severity.slows, where, what, f"train with {-(-width // TILE) * TILE}")


def too_long(config: Mapping[str, Any], length: int) -> Iterator[Finding]:
    """Refuses texts longer than the position table, with the reason.

    Args:
        config: of config.json.
        length: tokens of the longest input, special ones included.
    """
    rows = next((int(config[key]) for key in LENGTHS if config.get(key)), None)
    if rows is None or str(config.get("position_embedding_type") or "absolute") != "absolute":
        return
    offset = int(config.get("pad_token_id") or 0) + 1 if "roberta" in str(config.get("model_type")) else 0
    if length > rows - offset:
        kept = f" ({offset} of them are kept for padding)" if offset else ""
        what = (
            f"inputs of {length} tokens, but the position table has {rows} rows{kept}: "
            f"a token after the {rows - offset}th has no position to be looked up"
        )
        fix = f"cut texts to {rows - offset} tokens by the template, or train a longer table"
        yield Finding(Severity.blocks, "config.json, max_position_embeddings", what, fix)


def table_too_short(view: GraphView, length: int) -> Iterator[Finding]:
    """The same of a graph, by its weights named position."""
    for name, value in view.initializers():
        if "position" in name.casefold() and value.ndim == 2 and value.shape[0] < length:  # noqa: PLR2004 - a table
            what = f"inputs of {length} tokens, but this table has {value.shape[0]} positions"
            fix = f"cut texts to {value.shape[0]} tokens by the template, or train a longer table"
            yield Finding(Severity.blocks, name, what, fix)


def weighed(view: GraphView) -> Iterator[Finding]:
    """Products by weights whose sides do not fill tensor cores, and narrow heads."""
    odd: dict[int, list[str]] = {}
    for node in view.nodes:
        for side in _sides(view, node):
            if side % UNIT:
                odd.setdefault(side, []).append(node.name)
    for side, names in odd.items():
        yield from _width(side, places(dict.fromkeys(names)))
    widths: dict[int, list[str]] = {}
    for block in attentions(view):
        shape = view.shape(block.scores.inputs[0])
        if block.scores.kind == "MatMul" and shape and shape[-1]:
            widths.setdefault(shape[-1], []).append(block.scores.name)
    for width, names in widths.items():
        yield from head_width(width, places(names))


def _sides(view: GraphView, node: Node) -> Iterator[int]:
    """The sides of the matrices that a node multiplies by, but for those that hardly make work."""
    if node.kind not in {"MatMul", "Gemm"}:
        return
    for name in node.inputs[:2]:
        shape = view.shape(name) or ()
        sides = [side for side in shape if side]
        if not view.is_activation(name) and len(shape) == len(sides) == 2 and min(sides) > FEW:  # noqa: PLR2004
            yield from sides
