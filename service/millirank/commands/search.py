"""`millirank search`: a table that fills provisionally, then settles, with a bar of the stages."""

import time
from collections.abc import Iterator
from typing import Annotated

import grpc
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from millirank.errors import MillirankError
from millirank.v1 import search_pb2, search_pb2_grpc

BAR = 60  # characters
STAGES = (  # of Timings, with a colour each
    ("tokens", "bright_black"),
    ("encode_queue", "yellow"),
    ("encode", "cyan"),
    ("retrieve", "green"),
    ("render", "magenta"),
    ("rerank_queue", "yellow"),
    ("rerank", "blue"),
)
CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")  # characters that would steer the terminal


class CallFailed(MillirankError):
    """A server that did not answer, or said no."""


def search(
    query: Annotated[str, typer.Argument(help="What a shopper would type.")],
    target: Annotated[str, typer.Option(help="The server's address.")] = "127.0.0.1:50051",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Hits to show.")] = 10,
    depth: Annotated[int, typer.Option(min=0, help="Candidates to rerank at most, 0 for the server's own.")] = 0,
) -> None:
    """Search a running server."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise CallFailed("the query is not UTF-8: `locale charmap` must say UTF-8, as must its source") from error
    console = Console()
    request = search_pb2.SearchRequest(query=query, limit=limit, rerank_depth=depth)
    with grpc.insecure_channel(target) as channel, Live(console=console, auto_refresh=False) as live:
        for response, elapsed in answers(channel, request):
            live.update(view(response, elapsed), refresh=True)
    if not console.is_terminal:
        console.print()  # Live ends its last line on a terminal only


def answers(
    channel: grpc.Channel, request: search_pb2.SearchRequest, timeout: float = 5.0
) -> Iterator[tuple[search_pb2.SearchResponse, float]]:
    """Each answer with the seconds since the call began.

    Raises:
        CallFailed: with the server's words.
    """
    start = time.perf_counter()
    try:
        for response in search_pb2_grpc.SearchServiceStub(channel).Search(request, timeout=timeout):
            yield response, time.perf_counter() - start
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata():  # none answered
            details = f"{details}: start a server with `millirank serve --index DIR` or name it with --target"
        raise CallFailed(f"{code.name}: {details}") from error


def view(response: search_pb2.SearchResponse, elapsed: float) -> RenderableType:
    """A ranking as a table, its stages as a bar."""
    final = response.phase == search_pb2.PHASE_RANKED
    table = Table(header_style="bold", border_style="green" if final else "yellow", expand=True)
    table.add_column("#", justify="right")
    table.add_column("product", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("brand", max_width=16, overflow="ellipsis", no_wrap=True)
    table.add_column("price", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    for hit in response.hits:
        product = hit.product
        price = f"{product.price:,.2f} {product.currency}".strip() if product.HasField("price") else ""
        table.add_row(str(hit.rank), plain(product.title), plain(product.brand), plain(price), f"{hit.score:.3f}")
    said = "final" if final else "provisional"
    depth = f", {response.rerank_depth} reranked" if response.rerank_depth else ""
    degraded = f", degraded: {response.degraded_reason}" if response.degraded else ""
    times = f"{response.timings.total_us / 1e3:.2f} ms in the server, {elapsed * 1e3:.2f} ms for the client"
    return Group(table, Text(f"{said}{depth}{degraded}; {times}"), bar(response.timings))


def plain(text: str) -> Text:
    """A feed's text as it stands: neither markup nor control characters mean anything."""
    return Text(text.translate(CONTROLS))


def bar(timings: search_pb2.Timings) -> Text:
    """Where the time went: each stage as wide as its share."""
    spent = [(name, colour, getattr(timings, f"{name}_us")) for name, colour in STAGES]
    spent.append(("other", "white", max(0, timings.total_us - sum(us for _, _, us in spent))))
    total = max(1, timings.total_us)
    line, legend = Text(), Text()
    for name, colour, us in spent:
        line.append("█" * round(BAR * us / total), style=colour)
        if us:
            legend.append(f"{name.replace('_', ' ')} {us / 1e3:.2f}  ", style=colour)
    return line.append("\n").append_text(legend)
