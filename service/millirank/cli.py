"""The command line: one app, each command in its own module, every foreseen error in one line."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from millirank_engines.base import EngineError

from .commands import demo, doctor, engine, evaluate, index, loadtest, plan, search, segments, serve, traffic, train
from .errors import MillirankError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default mode takes "[default: 10]" for markup and drops it
    help="A query in, ranked products out within 10 ms. Start with `millirank demo`.",
)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("search")(search.search)
app.command("index")(index.index)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("segments")(segments.segments)
app.command("loadtest")(loadtest.loadtest)
app.command("plan")(plan.plan)
app.command("doctor")(doctor.doctor)
app.add_typer(engine.app, name="engine")
app.add_typer(traffic.app, name="traffic")


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"millirank {version('millirank')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Options of every command."""


def main() -> None:
    """The entry point; an error that was foreseen is one line on stderr and exit status 1."""
    try:
        app()
    except (MillirankError, EngineError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
