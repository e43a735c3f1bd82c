"""Queries before the first real one: they warm the whole path, and show what it takes on this machine."""

import asyncio
import random
import time
from dataclasses import dataclass

import grpc
import numpy as np

from .errors import Unavailable
from .pipeline import Pipeline
from .probe import LOOPBACK
from .rpc import SearchService, handler
from .v1 import search_pb2, search_pb2_grpc

QUERIES = 20
PATIENCE = 0.5  # seconds for one: a machine that is busy with other work may starve the reranker's threads
PAUSE = 0.01  # seconds before each: a query mostly finds a server whose processors sleep
REQUEST = search_pb2.SearchRequest(query="a rehearsal", rerank_depth=2)
OUTSIDE = 0.9  # quantile
AGAIN = 3  # rehearsals at most after one that was too slow
LATER = 1.0  # seconds until the next one, about: whatever starts beside us has mostly started then
REPLIES = 0.25  # of the time promised, beyond which gRPC leaves the engines too little
LEAST_OWN = 1e-4  # seconds of a first stage besides the encoder's, whatever two clocks say


@dataclass(frozen=True)
class Rehearsed:
    """What queries took that found an idle server, in seconds."""

    own: float  # to the provisional order, besides embedding the query; the quickest
    encode: float  # to embed a query, its wait included; the quickest
    outside: float  # in gRPC, before the pipeline sees the query and after it gave the last answer away; p90

    @property
    def total(self) -> float:
        """Until the provisional order has arrived."""
        return self.own + self.encode + self.outside


async def rehearsed(pipeline: Pipeline, promised: float | None) -> Rehearsed:
    """Rehearses, and a few times more, a little later, where that took more than a promise allows; the quickest counts.

    What it found holds for as long as the server runs, and servers mostly start together: eight that rehearsed side by
    side, while engines were warmed beside them, found a machine that needed 11 ms for a query of 3.

    Args:
        pipeline: of the queries.
        promised: seconds from arrival to the final message; None for no limit.

    Raises:
        Unavailable: as rehearse does.
    """
    found = await rehearse(pipeline)
    for _ in range(AGAIN):
        if promised is None or (found.total <= promised and found.outside <= REPLIES * promised):
            break
        await asyncio.sleep(LATER * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all do it at once
        found = min(found, await rehearse(pipeline), key=lambda one: one.total)
    return found


async def rehearse(pipeline: Pipeline) -> Rehearsed:
    """Sends some queries through gRPC, to a server of their own that no client knows.

    One that is not answered in time shows nothing.

    Raises:
        Unavailable: if one fails, or none is answered in time.
    """
    service = SearchService()
    service.pipeline = pipeline
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(service),))
    own, encode, outside = [], [], []
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    sample, pipeline.sample = pipeline.sample, None  # a rehearsal is no traffic
    try:
        async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            for _ in range(QUERIES):
                await asyncio.sleep(PAUSE)
                start = time.monotonic()
                try:
                    first, last = [answer.timings async for answer in stub.Search(REQUEST, timeout=PATIENCE)]
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise
                    continue
                seconds = time.monotonic() - start
                embedding = (first.encode_queue_us + first.encode_us) / 1e6
                own.append(first.total_us / 1e6 - embedding)
                encode.append(embedding)
                outside.append(seconds - last.total_us / 1e6)
    except grpc.aio.AioRpcError as error:
        raise Unavailable(f"a rehearsal failed ({error.details()}): see the messages before it") from error
    finally:
        await server.stop(None)
        pipeline.sample = sample
    if not own:
        raise Unavailable(f"no rehearsal was answered within {PATIENCE:g} s: start again when the machine is less busy")
    return Rehearsed(max(LEAST_OWN, min(own)), min(encode), float(np.quantile(outside, OUTSIDE)))
