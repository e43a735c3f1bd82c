"""The fused engine: a BERT network as a few kernels of our own a layer, on the valid tokens alone.

TensorRT pads every sequence to its bucket and launches 46 kernels for six layers of MiniLM. Here sequences lie end to
end (see build/fused/tiles.py), an inference copies ids and lengths to the device and replays a graph, of five kernels a
layer or of one in all (build/fused/network.py), and its time is that of its valid tokens. The kernels were compiled
when the artifact was built: serving needs no compiler, only the driver.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .base import EngineError, Profile, Tensors, copy_feeds
from .cuda import Cuda, host_array
from .program import ALL, OUTPUT, PROGRESS, ROWS, SEQUENCES, STARTS, TOKENS, TYPES, Launch, read_program
from .replay import Bucket, GraphEngine, Memory, aligned


@dataclass(frozen=True)
class _Step:
    """A launch with its addresses."""

    kernel: int
    grid: tuple[int, int, int]
    threads: int
    shared: int
    addresses: tuple[int, ...]


@dataclass(slots=True)
class FusedBucket(Bucket):
    """See Bucket; the arrays are pinned memory."""

    starts: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # (batch + 2,)
    inputs: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)  # (batch, length)
    begin: int = 0  # of what is copied to the device, in bytes from the begin of the staging memory
    span: int = 0  # bytes of it
    places: Mapping[str, int] = field(default_factory=dict)  # addresses by name
    steps: tuple[_Step, ...] = ()


class FusedEngine(GraphEngine[FusedBucket]):
    """A program on a GPU, ready to run when it is made.

    It counts the mask: the valid tokens of a row are its first ones, at least one, as pack_sequences and pack_pairs lay
    them.
    """

    def __init__(
        self,
        path: Path,
        profiles: Sequence[Profile],
        precision: str,
        *,
        cuda: Cuda,
        background: bool = False,
        graphs: bool = True,
    ) -> None:
        """Loads a program, allocates all memory, and captures a graph for every profile.

        Args:
            path: what write_program wrote.
            profiles: the shapes that infer will take; the program must have them.
            precision: of its types, for the name.
            cuda: the device.
            background: whether its kernels let those of other engines go first.
            graphs: whether inferences replay graphs; without, they are slower: for comparison.

        Raises:
            EngineError: if the file is no program, or has none for a profile.
            EngineFailed: if the driver cannot load a kernel or a graph cannot be captured.
            DeviceLost: if the device is.
        """
        program, weights, code = read_program(path)
        super().__init__(f"fused/{precision}", profiles, cuda, program.output)
        if unknown := [str(profile) for profile in self.profiles if profile not in program.launches]:
            raise EngineError(f"{path} has no program for {', '.join(unknown)}: rebuild it with these --profiles")
        self._program = program
        try:
            self._open_stream(urgent=not background)
            self._load(weights, code, graphs=graphs)
        except BaseException:
            self.close()
            raise

    @property
    def memory(self) -> Memory:
        """See GraphEngine; nothing else allocates."""
        return Memory(self._activations, self._staging, self._pinned, self._weights, 0)

    def _load(self, weights: dict[str, NDArray[np.generic]], code: dict[str, bytes], *, graphs: bool) -> None:
        cuda, program = self._cuda, self._program
        self._opened.callback(self._buckets.clear)
        self._handles: dict[str, int] = {}
        for name in self._wanted():
            module = cuda.load_module(code[name])
            self._opened.callback(cuda.unload_module, module)
            self._handles[name] = cuda.kernel(module, program.kernels[name].symbol, program.kernels[name].shared)
        places = self._uploaded(weights)
        self._activations = sum(map(aligned, program.buffers.values()))
        self._zeros = max(aligned(4 * program.counters.get(profile, 0)) for profile in self.profiles)
        self._staging = self._zeros + max(map(self._input_bytes, self.profiles))
        address = self._device(self._activations + self._staging)
        for name, size in program.buffers.items():
            places[name] = address
            address += aligned(size)
        outputs = max(4 * profile.batch * max(1, program.width) for profile in self.profiles)
        self._pinned = self._staging + aligned(outputs)
        host = cuda.allocate_pinned(self._pinned)
        self._opened.callback(cuda.free_pinned, host)
        self._device_inputs, self._host_inputs = address, host
        host_array(host, (self._zeros,), np.uint8)[...] = 0  # nothing is ever written there
        for profile in self.profiles:
            bucket = self._buckets[profile.batch, profile.length] = self._bucket(profile, places)
            self._warm(bucket, graphs=graphs)

    def _wanted(self) -> set[str]:
        """The kernels that its buckets run."""
        return {launch.kernel for profile in self.profiles for launch in self._program.launches[profile]}

    def _device(self, size: int) -> int:
        address = self._cuda.allocate(size)
        self._opened.callback(self._cuda.free, address)
        return address

    def _uploaded(self, weights: dict[str, NDArray[np.generic]]) -> dict[str, int]:
        """The addresses of the weights on the device."""
        cuda = self._cuda
        self._weights = sum(aligned(value.nbytes) for value in weights.values())
        device, host = self._device(self._weights), cuda.allocate_pinned(self._weights)
        with ExitStack() as meanwhile:
            meanwhile.callback(cuda.free_pinned, host)
            places, at = {}, 0
            for name, value in weights.items():
                host_array(host + at, value.shape, value.dtype)[...] = value
                places[name] = device + at
                if name.startswith(ALL):
                    part = value.nbytes // len(value)
                    places |= {f"{i}.{name.removeprefix(ALL)}": device + at + i * part for i in range(len(value))}
                at += aligned(value.nbytes)
            cuda.copy_in(device, host, self._weights, self._stream)
            cuda.synchronize(self._stream)
        return places

    def _input_bytes(self, profile: Profile) -> int:
        return aligned(4 * (profile.batch + 2)) + (1 + self._program.types) * aligned(4 * profile.tokens)

    def _bucket(self, profile: Profile, shared: Mapping[str, int]) -> FusedBucket:
        """Gives a profile its addresses."""
        program, host, device = self._program, self._host_inputs + self._zeros, self._device_inputs + self._zeros
        shape = (profile.batch, profile.length)
        starts = host_array(host, (profile.batch + 2,), np.int32)
        starts[...] = [*range(profile.batch + 1), profile.batch]  # sequences of one token
        zeros = aligned(4 * program.counters.get(profile, 0))  # the last of them all
        offset, places = aligned(starts.nbytes), {**shared, PROGRESS: device - zeros, STARTS: device}
        inputs: dict[str, NDArray[np.int32]] = {}
        places[ROWS] = places[STARTS] + 4 * profile.batch
        places[SEQUENCES] = places[ROWS] + 4
        for name in (TOKENS, TYPES)[: 1 + program.types]:
            inputs[name] = host_array(host + offset, shape, np.int32)
            inputs[name][...] = 1  # a valid token, whatever the memory held
            places[name] = device + offset
            offset += aligned(4 * profile.tokens)
        places.setdefault(TYPES, places[TOKENS])  # kernels without types take an address all the same
        places[OUTPUT] = self._host_inputs + self._staging
        output = host_array(places[OUTPUT], (profile.batch, program.width)[: 1 + bool(program.width)], np.float32)
        steps = tuple(self._step(launch, places) for launch in program.launches[profile])
        begin, span = self._zeros - zeros, zeros + offset
        return FusedBucket(
            profile, output, starts=starts, inputs=inputs, begin=begin, span=span, places=places, steps=steps
        )

    def _step(self, launch: Launch, places: Mapping[str, int]) -> _Step:
        kernel = self._program.kernels[launch.kernel]
        addresses = tuple(places[name] for name in launch.addresses)
        return _Step(self._handles[launch.kernel], launch.grid, kernel.threads, kernel.shared, addresses)

    def _fill(self, bucket: FusedBucket, feeds: Tensors, shape: tuple[int, ...]) -> None:
        copy_feeds(feeds, bucket.inputs, shape)
        mask = feeds.get("attention_mask")
        if mask is None or mask.shape != shape:
            got = "missing" if mask is None else mask.shape
            raise EngineError(f"attention_mask is {got}: feed it in the shape {shape} of input_ids")
        mask.sum(1, np.int32).cumsum(out=bucket.starts[1:-1])
        bucket.starts[-1] = shape[0]  # other buckets use this memory, too

    def _enqueue(self, bucket: FusedBucket) -> None:
        self._copy(bucket)
        for step in bucket.steps:
            self._run(step)

    def _copy(self, bucket: FusedBucket) -> None:
        self._cuda.copy_in(
            self._device_inputs + bucket.begin, self._host_inputs + bucket.begin, bucket.span, self._stream
        )

    def _run(self, step: _Step) -> None:
        self._cuda.launch_kernel(step.kernel, step.grid, step.threads, step.shared, step.addresses, self._stream)
