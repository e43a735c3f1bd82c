"""Everything below gRPC, assembled from an index folder: what a core opens, what a frontend opens, and both in one."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from millirank_engines import LoadedEngine, ModelSpec, open_engine, read_manifest
from millirank_engines.device import cores

from .catalog.layout import CatalogFolder
from .catalog.snapshot import Snapshot
from .config import Settings
from .core import Core
from .costs import CostTable
from .device import Device, device_from_name
from .errors import CatalogError, ConfigError
from .lane import Model
from .metrics import Metrics
from .pipeline import Limits, Pipeline
from .retrieve import HybridRetriever
from .tokens import Tokenizer
from .traffic.sampler import sampler_of
from .traffic.watch import watch_of
from .transport import InProcess, Transport

Costs = tuple[CostTable, CostTable]  # of the encoder and the reranker
GPU_IDLE = 0.001  # seconds of pause before a measured run on a GPU: there is no cache of ours to cool down
REHEARSED = 0.01  # seconds: where costs are known, a dearer call waits for its first use, which takes 4 ms more
MODELS = ("encoder", "reranker")  # folders of their artifacts
COUNTED_REQUESTS = 8  # of a batch where batches count requests


class CoreSide:
    """What a core needs: both engines and the products' tokens. Blocks while it loads and warms them, for seconds.

    Args:
        settings: of the service.
        device: which one; None means the first of the settings. This process has claimed it.
        snapshot: which one to open; None means the current one.
        costs: what an earlier core measured on this device with these engines: then nothing is measured, and the
            snapshot's files are not hashed again.
        metrics: of this process.
        background: whether the reranker runs behind everything else on a CPU; False where nobody waits for an encode.

    Raises:
        ArtifactRefused: if an engine must not be loaded here.
        CatalogError: if the snapshot must not be.
        ConfigError: if an engine is for another kind of device.
        DeviceLost: if the device is.
        EngineFailed: if an engine fails in its warm-up.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        device: Device | None = None,
        snapshot: int | None = None,
        costs: Costs | None = None,
        metrics: Metrics | None = None,
        background: bool = True,
    ) -> None:
        _refuse_missing(settings)
        with ExitStack() as opened:  # closed here only if something below fails
            device = device or device_from_name(settings.devices[0])
            on_gpu = device.kind == "gpu"
            threads = None if on_gpu else settings.threads
            encoder, reranker = _open_engines(settings, costs, opened, threads=threads, behind=background)
            _refuse_other_device(device, encoder, reranker)
            self.snapshot = _open_snapshot(
                settings, encoder.spec, reranker.spec, version=snapshot, hashes=costs is None
            )
            opened.callback(self.snapshot.close)
            self.core = Core(
                Model(encoder.engine, encoder.spec),
                Model(reranker.engine, reranker.spec),
                metrics=metrics,
                max_requests=COUNTED_REQUESTS if settings.scheduler == "count" else None,
                background=background and not on_gpu,
            )
            self.core.snapshots[self.snapshot.version] = self.snapshot.tokens
            if costs is not None and _fit(costs, (encoder, reranker)):
                self.core.encode_costs, self.core.rerank_costs = costs
            elif on_gpu:
                self.core.warm_up(idle=GPU_IDLE)
            self.core.start()
            opened.pop_all()

    def close(self) -> None:
        """Ends the core, then the snapshot that it reads."""
        self.core.close()
        self.snapshot.close()


class FrontSide:
    """What a frontend needs: indexes, tokenizers and the pipeline over them; no engine.

    Args:
        settings: of the service.
        transport: the way to a core.
        snapshot: one that is open, and is its opener's to close; or the version of one that a core has checked, whose
            files are not hashed again; None means the current one.
        metrics: of this process.

    Raises:
        ArtifactRefused: if a model's artifact is not as it was sealed.
        CatalogError: if the snapshot must not be loaded.
        ConfigError: if the folder for sampled traffic cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        *,
        snapshot: Snapshot | int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        _refuse_missing(settings)
        folders = [settings.engine_folder / name for name in MODELS]
        manifests = [read_manifest(folder) for folder in folders]
        encoder, reranker = (manifest.model for manifest in manifests)
        with ExitStack() as opened:
            if isinstance(snapshot, Snapshot):
                self.snapshot = snapshot
            else:
                self.snapshot = _open_snapshot(settings, encoder, reranker, version=snapshot, hashes=False)
                opened.callback(self.snapshot.close)
            self.retriever = HybridRetriever(self.snapshot)
            self.encoder_tokens = Tokenizer(folders[0] / "tokenizer.json", encoder)
            reranker_tokens = Tokenizer(folders[1] / "tokenizer.json", reranker)
            # Alone reads indexes and products; but the event loop asks the speller's dictionaries, which are mapped.
            reader = ThreadPoolExecutor(1, thread_name_prefix="millirank-index")
            opened.callback(reader.shutdown)
            self.pipeline = Pipeline(
                transport=transport,
                catalog=self.snapshot,
                retriever=self.retriever,
                encoder_tokens=self.encoder_tokens,
                reranker_tokens=reranker_tokens,
                executor=reader,
                limits=Limits(
                    settings.candidates,
                    settings.rerank_depth,
                    settings.reply_reserve_ms / 1e3,
                ),
            )
            if settings.traffic_sample is not None:
                watch = watch_of(manifests, (self.encoder_tokens, reranker_tokens), metrics or Metrics())
                sampler = sampler_of(self.snapshot, reranker, settings.traffic_sample, watch)
                opened.callback(sampler.close)
                self.pipeline.sample = sampler.served.append
                sampler.start()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Ends the reader and the sampler, then the snapshot that they read."""
        self._opened.close()


class Stack:
    """Both sides in one process: loads and warms everything that answers queries.

    Raises:
        ArtifactRefused: if an engine must not be loaded here.
        CatalogError: if the snapshot must not be.
        EngineFailed: if an engine fails in its warm-up.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None, *, background: bool = True) -> None:
        back = CoreSide(settings, metrics=metrics, background=background)
        with ExitStack() as opened:
            opened.callback(back.close)
            front = FrontSide(settings, InProcess(back.core), snapshot=back.snapshot, metrics=metrics)
            opened.callback(front.close)
            self._opened = opened.pop_all()
        self.core, self.snapshot = back.core, back.snapshot
        self.retriever, self.encoder_tokens, self.pipeline = front.retriever, front.encoder_tokens, front.pipeline

    def close(self) -> None:
        """Ends the reader, then the core, then the snapshot that both read."""
        self._opened.close()


def _refuse_missing(settings: Settings) -> None:
    if not settings.index.is_dir():
        raise CatalogError(
            f"there is no index {settings.index}: make one with `millirank index --catalog FILE --out DIR`"
        )


def _open_engines(
    settings: Settings, costs: Costs | None, opened: ExitStack, *, threads: int | None, behind: bool
) -> tuple[LoadedEngine, LoadedEngine]:
    """The encoder and the reranker, compiled and rehearsed side by side; opened closes them.

    On a CPU both take all threads, the reranker's in the background. On a GPU, threads is None, and their streams have
    two priorities. Unless the reranker is to run behind, both are equals.
    """
    share = threads if threads is None else threads or cores()

    def open_one(name: str, table: CostTable | None) -> LoadedEngine:
        background = behind and name == "reranker"
        loaded = open_engine(
            settings.engine_folder / name,
            threads=share,
            background=background,
            deferred=background and table is not None,
        )
        opened.callback(loaded.engine.close)
        if table is not None:
            cheap = [p for p in loaded.engine.profiles if table.seconds.get(p, 0.0) < REHEARSED]
            Model(loaded.engine, loaded.spec).rehearse(cheap)
        return loaded

    with ThreadPoolExecutor(len(MODELS)) as pool:
        loading = [
            pool.submit(open_one, name, table) for name, table in zip(MODELS, costs or (None, None), strict=True)
        ]
    encoder, reranker = (future.result() for future in loading)
    return encoder, reranker


def _fit(costs: Costs, engines: tuple[LoadedEngine, LoadedEngine]) -> bool:
    """Whether the costs are of these engines, and not of those before they were built anew."""
    return all(set(table.seconds) == set(own.engine.profiles) for table, own in zip(costs, engines, strict=True))


def _refuse_other_device(device: Device, *engines: LoadedEngine) -> None:
    for loaded in engines:
        kind = loaded.manifest.device.kind
        if (kind == "cpu") != (device.kind == "cpu"):
            raise ConfigError(
                f"the engine of {loaded.spec.name} is for a {kind}, the device is {device.name}: "
                f"name a {kind} with --device, or with --engines a folder of engines for {device.name}"
            )


def _open_snapshot(
    settings: Settings, encoder: ModelSpec, reranker: ModelSpec, *, version: int | None, hashes: bool
) -> Snapshot:
    if version is None:
        return Snapshot.open(settings.index, encoder=encoder, reranker=reranker, hashes=hashes)
    models: dict[str, ModelSpec | None] = {"encoder": encoder, "reranker": reranker}
    try:
        return Snapshot._open_version(CatalogFolder(settings.index), version, models, hashes=hashes)  # noqa: SLF001
    except FileNotFoundError as error:
        raise CatalogError(
            f"snapshot {version} is gone: start `millirank serve` again, it takes the current one"
        ) from error
