"""Fixtures that several test files share, and the figures that a run prints at its end."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from catalog_kit import products
from chorus_kit import DEPTH, FIGURES, ChorusShop
from models import Tiny, write_model
from rich.console import Console

from millirank.commands.index import engine, index
from millirank.commands.orders import rankings
from millirank.config import Settings
from millirank.evaluation import Scores, read_judgments, score
from millirank.stack import Stack
from millirank_engines.model import ENCODER, RERANKER

CHORUS = Path(__file__).parents[1] / "loadtest" / "chorus.py"
CAVEAT = "the shipped reranker saw no judgment, but its recipe was chosen with the queries of Chorus in view"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew-relevance", action="store_true", help="take the figures of now as tests/data/relevance.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[FIGURES]
    if lines:
        terminalreporter.section("relevance")
        for line in [*lines, *([CAVEAT] if any("Chorus" in line for line in lines) else [])]:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index with real engines of tiny random models over 300 products."""
    folder = tmp_path_factory.mktemp("tiny")
    catalog = folder / "products.jsonl"
    catalog.write_text("".join(json.dumps(product) + "\n" for product in products(300)), encoding="utf-8")
    encoder = write_model(folder / "encoder", Tiny(task="embed"))
    reranker = write_model(folder / "reranker", Tiny(task="rerank"))
    index(catalog=catalog, out=folder / "index", encoder=str(encoder), reranker=str(reranker))
    return folder / "index"


@pytest.fixture(scope="session")
def default_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shipped models' engines for this machine."""
    folder = tmp_path_factory.mktemp("engines")
    console = Console(quiet=True)
    engine(folder / "encoder", None, ENCODER, "embed", console).engine.close()
    engine(folder / "reranker", None, RERANKER, "rerank", console).engine.close()
    return folder


@pytest.fixture(scope="session")
def chorus(tmp_path_factory: pytest.TempPathFactory, default_engines: Path) -> ChorusShop:
    folder = tmp_path_factory.mktemp("chorus")
    subprocess.run([sys.executable, CHORUS, "--out", folder], check=True)
    (folder / "index").mkdir()
    (folder / "index" / "engines").symlink_to(default_engines)
    index(catalog=folder / "products.jsonl", out=folder / "index")
    judged = read_judgments(folder / "judgments.csv")
    lines = (folder / "products.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    shared = Counter(product["title"] for product in found)
    alone = [product for product in found if shared[product["title"]] == 1 and 40 < len(product["title"]) < 60]
    return ChorusShop(
        folder / "index",
        {query: grades for query, grades in judged.items() if any(grades.values())},
        {product["id"]: product["title"] for product in alone[:: len(alone) // 3]},
    )


@pytest.fixture(scope="session")
def chorus_scores(chorus: ChorusShop) -> dict[str, Scores]:
    """Of every configuration, at DEPTH and without a time limit."""
    stack = Stack(Settings(index=chorus.index, sla_ms=0, rerank_depth=DEPTH), background=False)
    try:
        runs = asyncio.run(rankings(stack, tuple(chorus.judgments)))
    finally:
        stack.close()
    return {name: score(run, chorus.judgments) for name, run in runs.items()}
