"""A network as launches of kernels, for one bucket, by the sizes that were chosen for it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from millirank_engines.base import EngineError, Profile
from millirank_engines.build.graph import Network
from millirank_engines.program import OUTPUT, ROWS, SEQUENCES, STARTS, TOKENS, TYPES, Launch

from .variants import SCRATCH, Variant

SLACK = 256  # rows of every buffer past the last: the largest block
LEAST = 16  # columns of a block
COUNTED = 2**31 - 1  # numbers of a buffer
HEAD_WIDTHS = (16, 32, 64, 128)
ACTIVATIONS = {"gelu": 1, "gelu_new": 2, "gelu_pytorch_tanh": 2, "relu": 3}
TANH = 4
X, Y, CONTEXT, QKV, WIDE = "x", "y", "context", "qkv", "inner"  # buffers
MOMENTS = ".moments"  # ends the name of what is left of a buffer's rows
FIRST = ":first"  # ends the role of a kernel of the last layer, where it computes the first tokens alone


@dataclass(frozen=True)
class Size:
    """How a kernel's work is cut."""

    rows: int
    columns: int = 0  # of the output, or keys of attention
    depth: int = 0  # of the inner dimension at once
    warps: int = 4
    stages: int = 3


Choice = Mapping[str, Size]  # by role


@dataclass(frozen=True)
class Step:
    """One kernel of a bucket."""

    role: str  # embed, qkv, attention, attended, inner, outer, pooler or output, or network; FIRST: first tokens alone
    variant: Variant
    grid: tuple[int, int, int]
    addresses: tuple[str, ...]

    def launch(self) -> Launch:
        """As the program has it, with the addresses that the compiler adds, which nothing reads."""
        return Launch(self.variant.name, self.grid, (*self.addresses, *[STARTS] * SCRATCH))


def refuse_unfit(network: Network, inner: int = LEAST) -> None:
    """Refuses a network that the kernels do not cover; its feed-forward layers are inner wide.

    Raises:
        EngineError: with what to use instead.
    """
    head = network.hidden // network.heads
    if head not in HEAD_WIDTHS or network.hidden % LEAST:
        raise EngineError(
            f"heads of {head} in rows of {network.hidden} are not covered ({', '.join(map(str, HEAD_WIDTHS))} in "
            f"multiples of {LEAST} are): build it with --backend tensorrt"
        )
    if inner % LEAST:
        raise EngineError(
            f"feed-forward layers of {inner} are not covered (multiples of {LEAST} are): build it with "
            "--backend tensorrt"
        )
    if network.head == "roberta":
        raise EngineError("RoBERTa's classification head is not fused: build it with --backend tensorrt")


class Layers:
    """The launches of a network."""

    def __init__(self, network: Network, inner: int) -> None:
        """Describes them for a network whose feed-forward layers are inner wide.

        Raises:
            EngineError: if the kernels do not cover it.
        """
        refuse_unfit(network, inner)
        self.network, self.inner = network, inner

    def refuse_uncounted(self, profiles: Iterable[Profile]) -> None:
        """Refuses shapes in whose buffers an int32, with which kernels count, does not reach every number.

        Raises:
            EngineError: with the most tokens that it reaches.
        """
        most = COUNTED // max(3 * self.network.hidden, self.inner) - SLACK
        if too_many := [str(profile) for profile in profiles if profile.tokens > most]:
            raise EngineError(f"{', '.join(too_many)} has too many tokens, {most} are the most: leave it out")

    def buffers(self, launches: Mapping[Profile, object]) -> dict[str, int]:
        """Bytes of every buffer, for the largest of the buckets."""
        rows, width = max(profile.tokens for profile in launches) + SLACK, self.network.hidden
        widths = {X: width, Y: width, CONTEXT: width, QKV: 3 * width, WIDE: self.inner}
        left = {name + MOMENTS: 4 * rows * 2 * (width // LEAST) for name in (X, Y)}
        return {name: 2 * rows * columns for name, columns in widths.items()} | left

    def steps(self, profile: Profile, choice: Choice) -> Iterator[Step]:
        """What an inference runs, in order; KeyError if a role has no size."""
        last = self.network.layers - 1
        yield self._embed(profile, choice)
        for i in range(last + 1):
            first = FIRST if i == last and self.network.head != "mean" else ""
            yield self._linear(profile, choice, f"{i}.qkv", X, QKV, of=self._tiles(choice, "outer"))
            yield self._attention(profile, choice, first)
            yield self._linear(
                profile, choice, f"{i}.attended{first}", CONTEXT, Y,
                residual=X, norm=2 * i, left=self._tiles(choice, "outer"),
            )  # fmt: skip
            attended = self._tiles(choice, f"attended{first}")
            yield self._linear(profile, choice, f"{i}.inner{first}", Y, WIDE, of=attended)
            yield self._linear(profile, choice, f"{i}.outer{first}", WIDE, X, residual=Y, norm=2 * i + 1, left=attended)
        yield from self._output(profile, choice)

    def _tiles(self, choice: Choice, role: str) -> int:
        """In how many blocks a product leaves the moments of its rows; in one layer there is no role but the last."""
        size = choice.get(role) or choice[role + FIRST]
        return self.network.hidden // size.columns

    def _embed(self, profile: Profile, choice: Choice) -> Step:
        network, size = self.network, choice["embed"]
        variant = _variant(
            "embed",
            size,
            LENGTH=profile.length,
            WIDTH=network.hidden,
            PADDED=padded(network.hidden),
            ROWS=size.rows,
            TILES=self._tiles(choice, "outer"),
            TYPED=network.type_ids,
        )
        grid = (profile.batch, blocks(profile.length, size.rows), 1)
        return Step("embed", variant, grid, (TOKENS, TYPES, STARTS, "words", "positions", "kinds", X, X + MOMENTS))

    def _linear(
        self, profile: Profile, choice: Choice, name: str, x: str, out: str, *,
        of: int = 0, residual: str = "", norm: int = 0, left: int = 0,
    ) -> Step:  # fmt: skip
        """A product of rows whose moments lie in of tiles, or of such that are normal, added to a residual's."""
        layer, role = name.split(".")
        size, first, kind = choice[role], role.endswith(FIRST), role.removesuffix(FIRST)
        width = self.network.hidden
        inner = self.inner if kind == "outer" else width
        outer = {"qkv": 3 * width, "inner": self.inner}.get(kind, width)
        variant = _variant(
            "linear",
            size,
            INNER=inner,
            OUTER=outer,
            ROWS=size.rows,
            COLUMNS=size.columns,
            DEPTH=size.depth,
            ACTIVATION={"inner": ACTIVATIONS[self.network.activation], "pooler": TANH}.get(kind, 0),
            X_TILES=of,
            RESIDUAL_TILES=left,
            FIRST=first and kind == "attended",
            EPSILON=self.network.epsilon,
        )
        own = f"{layer}.{kind}".lstrip(".")
        addresses = (
            x,
            x + MOMENTS if of else STARTS,
            f"{own}.weight",
            f"{own}.bias",
            f"{own}.sums" if of else STARTS,
            residual or x,
            residual + MOMENTS if left else STARTS,
            *(f"{norm}.norm.{part}" if left else STARTS for part in ("gain", "shift")),
            STARTS,
            SEQUENCES if first else ROWS,
            out,
            out + MOMENTS if left else STARTS,
        )
        rows = profile.batch if first else profile.tokens
        return Step(role, variant, (blocks(rows, size.rows) * (outer // size.columns), 1, 1), addresses)

    def _attention(self, profile: Profile, choice: Choice, first: str) -> Step:
        network, size = self.network, choice[f"attention{first}"]
        variant = _variant(
            "attention",
            size,
            HEADS=network.heads,
            HEAD=network.hidden // network.heads,
            ROWS=size.rows,
            KEYS=size.columns,
            FIRST=bool(first),
        )
        grid = (profile.batch, network.heads, 1 if first else blocks(profile.length, size.rows))
        return Step(f"attention{first}", variant, grid, (QKV, STARTS, CONTEXT))

    def _output(self, profile: Profile, choice: Choice) -> Iterator[Step]:
        network, size, width = self.network, choice["output"], self.network.hidden
        if network.head == "bert":
            yield self._linear(profile, choice, f".pooler{FIRST}", X, Y, of=self._tiles(choice, "outer" + FIRST))
            variant = _variant("score", size, WIDTH=width, PADDED=padded(width))
            yield Step("output", variant, (profile.batch, 1, 1), (Y, "classifier.weight", "classifier.bias", OUTPUT))
            return
        variant = _variant(
            "pool",
            size,
            WIDTH=width,
            PADDED=padded(width),
            ROWS=size.rows,
            MEAN=network.head == "mean",
            EPSILON=network.epsilon,
        )
        norm = (f"{2 * network.layers}.norm.gain", f"{2 * network.layers}.norm.shift")
        yield Step("output", variant, (profile.batch, 1, 1), (X, *norm, STARTS, OUTPUT))


def _variant(kernel: str, size: Size, **constants: float) -> Variant:
    return Variant(kernel, tuple(constants.items()), size.warps, size.stages)


def padded(width: int) -> int:
    """The next power of two."""
    return 1 << (width - 1).bit_length()


def blocks(count: int, size: int) -> int:
    """How many blocks of a size hold so many."""
    return -(-count // size)
