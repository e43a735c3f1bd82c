"""A network as launches of kernels, for one bucket, by the sizes that were chosen for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError, Profile
from millirank_engines.build.dense import Weights
from millirank_engines.build.graph import CLASSIFIERS, TABLES, Network
from millirank_engines.program import OUTPUT, ROWS, SEQUENCES, STARTS, TOKENS, TYPES, Launch

from .variants import Variant

SLACK = 256  # rows of every buffer past the last: the largest block
LARGEST = 65504.0  # of float16
HEAD_WIDTHS = (16, 32, 64, 128)
ACTIVATIONS = {"gelu": 1, "gelu_new": 2, "gelu_pytorch_tanh": 2, "relu": 3}
LOG2_E = 1.4426950408889634
BUFFERS = ("x", "y", "context", "qkv", "inner")
FIRST = ":first"  # ends the role of a kernel of the last layer, where it computes the first tokens alone


@dataclass(frozen=True)
class Size:
    """How a kernel's work is cut."""

    rows: int
    columns: int = 0  # of the output, or keys of attention
    depth: int = 0  # of the inner dimension at once
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True)
class Choice:
    """What a bucket runs."""

    raw: bool  # rows are normalised by those that read them, not by the product that makes them
    sizes: Mapping[str, Size]  # by role


@dataclass(frozen=True)
class Step:
    """One kernel of a bucket."""

    role: str  # embed, qkv, attention, attended, inner, outer, or output; with FIRST at its end for first tokens alone
    variant: Variant
    grid: tuple[int, int, int]
    addresses: tuple[str, ...]

    def launch(self) -> Launch:
        """As the program has it, with the addresses that the compiler adds, which nothing reads."""
        return Launch(self.variant.name, self.grid, (*self.addresses, STARTS, STARTS))


def refuse_unfit(network: Network) -> None:
    """Refuses a network that the kernels do not cover.

    Raises:
        EngineError: with what to use instead.
    """
    width, head = network.hidden, network.hidden // network.heads
    parts(width)
    if head not in HEAD_WIDTHS:
        raise EngineError(f"heads of {head} are none of {HEAD_WIDTHS}: build it with --backend tensorrt")
    if network.head == "roberta":
        raise EngineError("RoBERTa's classification head is not fused: build it with --backend tensorrt")


def parts(width: int) -> int:
    """In how many blocks, each a power of two, a row is kept.

    Raises:
        EngineError: if there is no such number.
    """
    for count in (1, 3):
        part, rest = divmod(width, count)
        if not rest and part >= 16 and part & (part - 1) == 0:  # noqa: PLR2004 - the least of a product
            return count
    raise EngineError(f"rows of {width} are no power of two and not three times one: build with --backend tensorrt")


def block(width: int) -> int:
    """The largest power of two that divides a width, at most 128."""
    return min(128, width & -width)


def buffers(network: Network, inner: int, profiles: Mapping[Profile, object]) -> dict[str, int]:
    """Bytes of every buffer, for the largest of the buckets."""
    rows = max(profile.tokens for profile in profiles) + SLACK
    widths = (network.hidden, network.hidden, network.hidden, 3 * network.hidden, inner)
    return {name: 2 * rows * width for name, width in zip(BUFFERS, widths, strict=True)}


class Layers:
    """The launches of a network."""

    def __init__(self, network: Network, inner: int, *, chained: bool) -> None:
        """Describes them for a network whose feed-forward layers are inner wide.

        Raises:
            EngineError: if the kernels do not cover it.
        """
        refuse_unfit(network)
        self.network, self.inner, self.chained = network, inner, chained

    def steps(self, profile: Profile, choice: Choice) -> Iterator[Step]:
        """What an inference runs, in order; KeyError if a role has no size."""
        network, raw = self.network, choice.raw
        yield self._embed(profile, choice.sizes["embed"], raw=raw)
        for i in range(network.layers):
            first = FIRST if i == network.layers - 1 and network.head != "mean" else ""
            before = f"{i - 1}.outer" if i else "embeddings"
            size = choice.sizes
            yield self._linear(profile, f"{i}.qkv", "qkv", size["qkv"], "x", "qkv", x_norm=before if raw else "")
            yield self._attention(profile, size[f"attention{first}"], first)
            yield self._residual(profile, f"{i}.attended", f"attended{first}", size, ("context", "x", "y"), raw, before)
            yield self._linear(
                profile, f"{i}.inner", f"inner{first}", size[f"inner{first}"], "y", "inner",
                x_norm=f"{i}.attended" if raw else "",
            )  # fmt: skip
            yield self._residual(
                profile, f"{i}.outer", f"outer{first}", size, ("inner", "y", "x"), raw, f"{i}.attended"
            )
        yield self._output(profile, choice.sizes["output"], f"{network.layers - 1}.outer", raw=raw)

    def _variant(self, kernel: str, size: Size, **constants: float) -> Variant:
        return Variant(kernel, (*constants.items(), ("CHAINED", self.chained)), size.warps, size.stages)

    def _embed(self, profile: Profile, size: Size, *, raw: bool) -> Step:
        network = self.network
        variant = self._variant(
            "embed",
            size,
            LENGTH=profile.length,
            WIDTH=network.hidden,
            PADDED=_padded(network.hidden),
            ROWS=size.rows,
            TYPED=network.type_ids,
            NORMALIZED=not raw,
            EPSILON=network.epsilon,
        )
        tables = ("words", "positions", "kinds", "embeddings.gain", "embeddings.shift")
        grid = (profile.batch, _blocks(profile.length, size.rows), 1)
        return Step("embed", variant, grid, (TOKENS, TYPES, STARTS, *tables, "x"))

    def _linear(  # noqa: PLR0913 - as many as the kernel has
        self, profile: Profile, name: str, role: str, size: Size, x: str, out: str, *,
        x_norm: str = "", residual: str = "", residual_norm: str = "",
    ) -> Step:  # fmt: skip
        network, wide, first = self.network, 3 * self.network.hidden, role.endswith(FIRST)
        kind = role.removesuffix(FIRST)
        inner = self.inner if kind == "outer" else network.hidden
        outer = {"qkv": wide, "inner": self.inner}.get(kind, network.hidden)
        variant = self._variant(
            "linear",
            size,
            INNER=inner,
            OUTER=outer,
            ROWS=size.rows,
            COLUMNS=size.columns,
            DEPTH=size.depth,
            NORM=block(network.hidden),
            ACTIVATION=ACTIVATIONS[network.activation] if kind == "inner" else 0,
            X_RAW=bool(x_norm),
            RESIDUAL=bool(residual),
            RESIDUAL_RAW=bool(residual_norm),
            FIRST=first and kind == "attended",
            EPSILON=network.epsilon,
        )
        bias = f"{name}.bias"
        addresses = (
            x,
            f"{name}.weight",
            bias,
            residual or x,
            *(f"{x_norm}.{part}" if x_norm else bias for part in ("gain", "shift")),
            *(f"{residual_norm}.{part}" if residual_norm else bias for part in ("gain", "shift")),
            STARTS,
            SEQUENCES if first else ROWS,
            out,
        )
        rows = profile.batch if first else profile.tokens
        return Step(role, variant, (_blocks(rows, size.rows) * (outer // size.columns), 1, 1), addresses)

    def _residual(  # noqa: PLR0913, PLR0917 - as above
        self, profile: Profile, name: str, role: str, sizes: Mapping[str, Size], buffers: tuple[str, str, str],
        raw: bool, before: str,  # noqa: FBT001 - as above
    ) -> Step:  # fmt: skip
        """A product whose rows are added to others, and normalised if they are not to be raw."""
        network, size, first = self.network, sizes[role], role.endswith(FIRST)
        x, residual, out = buffers
        if raw:
            return self._linear(profile, name, role, size, x, out, residual=residual, residual_norm=before)
        variant = self._variant(
            "linear_norm",
            size,
            INNER=self.inner if x == "inner" else network.hidden,
            PART=network.hidden // parts(network.hidden),
            PARTS=parts(network.hidden),
            ROWS=size.rows,
            DEPTH=size.depth,
            FIRST=first and x == "context",
            EPSILON=network.epsilon,
        )
        own = tuple(f"{name}.{part}" for part in ("gain", "shift"))
        limit = SEQUENCES if first else ROWS
        rows = profile.batch if first else profile.tokens
        addresses = (x, f"{name}.weight", f"{name}.bias", residual, *own, STARTS, limit, out)
        return Step(role, variant, (_blocks(rows, size.rows), 1, 1), addresses)

    def _attention(self, profile: Profile, size: Size, first: str) -> Step:
        network = self.network
        variant = self._variant(
            "attention",
            size,
            HEADS=network.heads,
            HEAD=network.hidden // network.heads,
            ROWS=size.rows,
            KEYS=size.columns,
            FIRST=bool(first),
        )
        grid = (profile.batch, network.heads, 1 if first else _blocks(profile.length, size.rows))
        return Step(f"attention{first}", variant, grid, ("qkv", STARTS, "context"))

    def _output(self, profile: Profile, size: Size, before: str, *, raw: bool) -> Step:
        network, norm = self.network, (f"{before}.gain", f"{before}.shift")
        width, epsilon = network.hidden, network.epsilon
        if network.head == "bert":
            variant = self._variant(
                "score",
                size,
                WIDTH=width,
                COLUMNS=size.columns,
                ROWS=size.rows,
                DEPTH=size.depth,
                NORM=block(width),
                RAW=raw,
                EPSILON=epsilon,
            )
            head = ("pooler.weight", "pooler.bias", "classifier.weight", "classifier.bias")
            grid = (_blocks(profile.batch, size.rows), 1, 1)
            return Step("output", variant, grid, ("x", *norm, *head, SEQUENCES, OUTPUT))
        mean = network.head == "mean"
        variant = self._variant(
            "pool",
            size,
            WIDTH=width,
            PADDED=_padded(width),
            ROWS=size.rows,
            MEAN=mean,
            RAW=raw,
            EPSILON=epsilon,
        )
        return Step("output", variant, (profile.batch, 1, 1), ("x", *norm, STARTS, OUTPUT))


def _padded(width: int) -> int:
    return 1 << (width - 1).bit_length()


def _blocks(count: int, size: int) -> int:
    return -(-count // size)


def weights_of(network: Network, weights: Weights) -> dict[str, NDArray[np.generic]]:
    """The weights as the kernels take them: products (inner, outer) and tables in float16, all else in float32.

    Queries are scaled by the root of a head's width, and for exponentials of base 2.

    Raises:
        OverflowError: if a weight is too large for float16; the message names it.
    """
    first, end = network.first_position, network.first_position + network.max_length
    words, positions, kinds = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in TABLES)
    positions = positions[first:end] if network.type_ids else positions[first:end] + kinds[0]
    found: dict[str, NDArray[np.float32]] = {"words": words, "positions": positions, "kinds": kinds}
    found |= _norm(weights, "embeddings.LayerNorm", "embeddings")
    scale = LOG2_E / (network.hidden // network.heads) ** 0.5
    for i in range(network.layers):
        at = f"encoder.layer.{i}"
        own = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        factors = (scale, 1.0, 1.0)
        for kind in ("weight", "bias"):
            joined = [weights[f"{name}.{kind}"] * np.float32(f) for name, f in zip(own, factors, strict=True)]
            found[f"{i}.qkv.{kind}"] = np.concatenate(joined).T
        for name, layer in (
            ("attended", f"{at}.attention.output.dense"),
            ("inner", f"{at}.intermediate.dense"),
            ("outer", f"{at}.output.dense"),
        ):
            found |= {f"{i}.{name}.{kind}": weights[f"{layer}.{kind}"].T for kind in ("weight", "bias")}
        found |= _norm(weights, f"{at}.attention.output.LayerNorm", f"{i}.attended")
        found |= _norm(weights, f"{at}.output.LayerNorm", f"{i}.outer")
    if network.head == "bert":
        inner, outer = CLASSIFIERS["bert"]
        found |= {f"pooler.{kind}": weights[f"{inner}.{kind}"].T for kind in ("weight", "bias")}
        found |= {f"classifier.{kind}": weights[f"{outer}.{kind}"].reshape(-1) for kind in ("weight", "bias")}
    return {name: _half(name, value) if value.ndim > 1 else value.astype(np.float32) for name, value in found.items()}


def _norm(weights: Weights, source: str, name: str) -> dict[str, NDArray[np.float32]]:
    return {f"{name}.gain": weights[f"{source}.weight"], f"{name}.shift": weights[f"{source}.bias"]}


def _half(name: str, value: NDArray[np.float32]) -> NDArray[np.float16]:
    if (largest := float(np.abs(value).max())) > LARGEST:
        raise OverflowError(f"{name} has a weight of {largest:.3g}, float16 ends at {LARGEST:.0f}: use --backend openvino")
    return value.astype(np.float16)
