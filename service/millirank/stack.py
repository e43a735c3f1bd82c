"""Everything below gRPC, assembled from an index folder: engines, core, snapshot, retriever, pipeline."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from millirank_engines import open_engine

from .catalog.snapshot import Snapshot
from .config import Settings
from .core import Core, Model
from .errors import CatalogError
from .pipeline import Limits, Pipeline
from .retrieve import HybridRetriever
from .tokens import Tokenizer
from .transport import InProcess


class Stack:
    """Loads and warms everything that answers queries; blocks while it does, for seconds.

    Raises:
        ArtifactRefused: if an engine must not be loaded here.
        CatalogError: if the snapshot must not be.
        EngineFailed: if an engine fails in its warm-up.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.index.is_dir():
            raise CatalogError(
                f"there is no index {settings.index}: make one with `millirank index --catalog FILE --out DIR`"
            )
        with ExitStack() as opened:  # closed here only if something below fails
            encoder = open_engine(settings.engine_folder / "encoder", threads=settings.threads or None)
            opened.callback(encoder.engine.close)
            reranker = open_engine(settings.engine_folder / "reranker", threads=settings.threads or None)
            opened.callback(reranker.engine.close)
            self.snapshot = Snapshot.open(settings.index, encoder=encoder.spec, reranker=reranker.spec)
            opened.callback(self.snapshot.close)
            self.retriever = HybridRetriever(self.snapshot)
            self.encoder_tokens = Tokenizer(encoder.tokenizer, encoder.spec)
            reranker_tokens = Tokenizer(reranker.tokenizer, reranker.spec)
            self.core = Core(Model(encoder.engine, encoder.spec), Model(reranker.engine, reranker.spec))
            self.core.snapshots[self.snapshot.version] = self.snapshot.tokens
            self.core.start()
            opened.pop_all()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="millirank-index")  # alone reads indexes and products
        self.pipeline = Pipeline(
            transport=InProcess(self.core),
            catalog=self.snapshot,
            retriever=self.retriever,
            encoder_tokens=self.encoder_tokens,
            reranker_tokens=reranker_tokens,
            executor=self._reader,
            limits=Limits(settings.candidates, settings.rerank_depth, settings.reply_reserve_ms / 1e3),
        )

    def close(self) -> None:
        """Ends the core, then the reader, then the snapshot that both read."""
        self.core.close()
        self._reader.shutdown()
        self.snapshot.close()
