"""The sample pipeline is YAML, and every millirank command in it is one that there is."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from millirank.cli import app

FILE = Path(__file__).parents[1] / "deploy" / "ci" / "engines.yml"
JOBS = ("check", "build", "publish")


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    data = yaml.safe_load(FILE.read_text("utf-8"))
    assert isinstance(data, dict)
    return data


def commands(pipeline: dict[str, Any]) -> Iterator[list[str]]:
    """The words of every call of millirank, without what the matrix puts in."""
    for job in pipeline["jobs"].values():
        for step in job["steps"]:
            script = re.sub(r"\$\{\{[^}]*\}\}", "x", step.get("run", "").replace("\\\n", " "))
            for line in re.split(r"[\n;|]|>>", script):
                if "millirank " in line:
                    yield shlex.split(line[line.index("millirank ") :])[1:]


def test_jobs_build_verify_and_publish_in_that_order(pipeline: dict[str, Any]) -> None:
    jobs = pipeline["jobs"]
    assert tuple(jobs) == JOBS
    assert jobs["build"]["needs"] == "check"
    assert jobs["publish"]["needs"] == "build"
    assert "gpu" in jobs["build"]["runs-on"]
    order = [words[1] for words in commands({"jobs": {"build": jobs["build"]}}) if words[0] == "engine"]
    assert order == ["build", "verify", "inspect"]
    assert jobs["build"]["strategy"]["matrix"] == jobs["check"]["strategy"]["matrix"]
    assert {entry["task"] for entry in jobs["build"]["strategy"]["matrix"]["include"]} == {"embed", "rerank"}


def test_every_command_and_option_exists(pipeline: dict[str, Any]) -> None:
    root = typer.main.get_command(app)
    found = list(commands(pipeline))
    assert len(found) >= 6
    for words in found:
        command: Any = root
        for word in words:
            if word in getattr(command, "commands", {}):
                command = command.commands[word]
        options = {name for parameter in command.params for name in parameter.opts}
        assert not hasattr(command, "commands"), words
        assert [word for word in words if word.startswith("--") and word not in options] == [], (command.name, words)


def test_it_holds_no_secret_and_asks_for_little(pipeline: dict[str, Any]) -> None:
    assert "secrets." not in FILE.read_text("utf-8")
    assert pipeline["permissions"] == {"contents": "read"}
    assert [name for name in JOBS if "permissions" in pipeline["jobs"][name]] == ["publish"]
    for job in pipeline["jobs"].values():
        for step in job["steps"]:
            assert step.get("uses", "actions/x@v1").startswith("actions/")


def test_it_names_files_that_are_there(pipeline: dict[str, Any]) -> None:
    root = FILE.parents[2]
    for path in pipeline[True]["push"]["paths"]:  # YAML 1.1 reads `on` as true
        assert list(root.glob(path)), path
