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

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "ci" / "engines.yml"
SCRIPT = ROOT / "deploy" / "build-engines"
JOBS = ("check", "build", "publish")


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    data = yaml.safe_load(FILE.read_text("utf-8"))
    assert isinstance(data, dict)
    return data


def commands(script: str) -> Iterator[list[str]]:
    """The words of every call of millirank in a script, without what the pipeline or the shell puts in."""
    plain = re.sub(r"\$\{\{[^}]*\}\}", "x", script.replace("\\\n", " "))
    for line in re.split(r"[\n;|]|>>", plain):
        if found := re.search(r"(?<![\w`-])millirank (.*)", line.partition(" #")[0]):
            yield shlex.split(found[1])


def scripts(pipeline: dict[str, Any], *jobs: str) -> str:
    return "\n".join(step.get("run", "") for name in jobs for step in pipeline["jobs"][name]["steps"])


def test_jobs_build_verify_and_publish_in_that_order(pipeline: dict[str, Any]) -> None:
    jobs = pipeline["jobs"]
    assert tuple(jobs) == JOBS
    assert jobs["build"]["needs"] == "check"
    assert jobs["publish"]["needs"] == "build"
    assert "gpu" in jobs["build"]["runs-on"]
    order = [words[1] for words in commands(scripts(pipeline, "check")) if words[0] == "engine"]
    assert order == ["check", "build", "build"]
    calls = scripts(pipeline, "build")
    assert jobs["build"]["strategy"]["matrix"]["backend"] == ["tensorrt", "fused"]
    assert jobs["build"]["strategy"]["max-parallel"] == 1  # builds time kernels
    assert calls.index("deploy/build-engines artifacts ${{ matrix.backend }}") < calls.index("engine inspect")
    assert [words[1] for words in commands(SCRIPT.read_text("utf-8"))] == ["build", "verify"]
    assert {entry["task"] for entry in jobs["check"]["strategy"]["matrix"]["include"]} == {"embed", "rerank"}


def test_every_command_and_option_exists(pipeline: dict[str, Any]) -> None:
    root = typer.main.get_command(app)
    found = list(commands(scripts(pipeline, *JOBS) + SCRIPT.read_text("utf-8")))
    assert len(found) == 7
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
    writing = {
        name: sorted(k for k, v in pipeline["jobs"][name].get("permissions", {}).items() if v == "write")
        for name in JOBS
    }
    assert writing == {"check": [], "build": ["attestations", "id-token"], "publish": ["contents"]}
    assert "head.repo.full_name == github.repository" in pipeline["jobs"]["build"]["if"]
    for job in pipeline["jobs"].values():
        for step in job["steps"]:
            assert step.get("uses", "actions/x@v1").startswith("actions/")


def test_it_names_files_that_are_there(pipeline: dict[str, Any]) -> None:
    for path in pipeline[True]["push"]["paths"]:  # YAML 1.1 reads `on` as true
        assert list(ROOT.glob(path)), path
