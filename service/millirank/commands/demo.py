"""`millirank demo`: a shop of our own, indexed, served and searched, from nothing to ranked products."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from millirank.catalog.snapshot import Snapshot
from millirank.demo import write
from millirank.errors import CatalogError, Unavailable
from millirank.v1 import search_pb2

from .index import index
from .search import answers, view

QUERIES = (
    "wireless headphones",
    "something to keep coffee hot",
    "wireles hedphones",
    "waterproof hiking jacket women",
    "couch",
)
SLA_MS = 50.0  # the default of 10 leaves two CPU cores little time to rerank, which is what there is to see
START_SECONDS = 120.0  # that a server may take to load and warm up


def demo(
    folder: Annotated[Path, typer.Option(help="Where catalogue and index go.")] = Path(".demo"),
    port: Annotated[int, typer.Option(help="For --serve.")] = 50051,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the server running, in the foreground.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Make a catalogue, index it, serve it, and run five queries against the live server."""
    console = Console()
    made = write(folder)
    where = folder / "index"
    if not indexed(where, made.products):
        console.rule("index")
        index(catalog=made.products, out=where)
    if serve:
        asked = f"{program()} search --target 127.0.0.1:{port} 'wireless headphones'"
        console.print(f"starting; once it serves, in another terminal:\n{asked}", soft_wrap=True, highlight=False)
        os.execv(sys.executable, _serve_command(where, port))  # noqa: S606 - our own arguments
    console.rule("serve")
    with server(where, free_port(), SLA_MS) as target:
        console.print(f"millirank serve --index {where} --sla-ms {SLA_MS:g} is ready on {target}", markup=False)
        with grpc.insecure_channel(target) as channel:
            for query in QUERIES:
                console.rule(f"search: {query}")
                for response, elapsed in answers(channel, search_pb2.SearchRequest(query=query, limit=5)):
                    console.print(view(response, elapsed))
    console.rule("go on")
    run = program()
    for line in (
        f"{run} serve --index {where}",
        f"{run} search couch",
        f"{run} eval --index {where} --judgments {made.judgments}",
        f"{run} index --catalog FILE --out DIR",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def indexed(where: Path, catalog: Path) -> bool:
    """Whether a sealed snapshot is there that is younger than the catalogue."""
    try:
        snapshot = Snapshot.open(where)
    except CatalogError:
        return False
    snapshot.close()
    return (where / "CURRENT").stat().st_mtime >= catalog.stat().st_mtime


def program() -> str:
    """How a shell calls this program: by its name where that is on the PATH."""
    own = Path(sys.argv[0])
    return "millirank" if shutil.which("millirank") or own.name != "millirank" else shlex.quote(str(own))


@contextlib.contextmanager
def server(where: Path, port: int, sla_ms: float = 10.0) -> Iterator[str]:
    """A live server in a process of its own, SERVING inside the block, stopped by SIGTERM after it.

    Raises:
        Unavailable: if it ended, or was not ready within START_SECONDS.
    """
    target = f"127.0.0.1:{port}"
    command = [*_serve_command(where, port), "--sla-ms", f"{sla_ms:g}", "--metrics-port", "0"]
    process = subprocess.Popen(command)  # noqa: S603 - our own arguments
    try:
        with grpc.insecure_channel(target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            end = time.monotonic() + START_SECONDS
            while not _serving(stub):
                if process.poll() is not None:
                    raise Unavailable(f"the server ended with status {process.returncode}: its words stand above")
                if time.monotonic() > end:
                    raise Unavailable(f"the server was not ready within {START_SECONDS:.0f} s: run `millirank doctor`")
                time.sleep(0.1)
        yield target
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _serving(stub: Any) -> bool:  # noqa: ANN401 - the stub's methods are made at run time
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve_command(where: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "millirank", "serve", "--index", str(where), "--port", str(port)]
