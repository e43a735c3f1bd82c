from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import Tiny, write_model
from numpy.typing import NDArray
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank_engines import ArtifactRefused, Check, EngineError, Profile, Task, Tensors, open_engine, read_manifest
from millirank_engines.artifact import seal
from millirank_engines.build.compile import build_engine
from millirank_engines.build.parity import Case, rankings_agree
from millirank_engines.build.verify import slowdowns, verify_engine
from millirank_engines.figures import Latency

BUCKETS = (Profile(1, 8), Profile(16, 8))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    source = write_model(folder / "shop-encoder", Tiny())
    return build_engine(str(source), folder / "e", task="embed", precision="fp32", profiles=BUCKETS).path


@pytest.fixture
def unverified(built: Path, tmp_path: Path) -> Path:
    """As it is sealed by a machine that cannot run it."""
    folder = tmp_path / "e"
    folder.mkdir()
    manifest = read_manifest(built)
    for name in manifest.files:
        (folder / name).hardlink_to(built / name)
    seal(folder, replace(manifest, parity=()))
    return folder


class Answers:
    """An engine that gives the same outputs whatever it is fed."""

    name, profiles = "answers", BUCKETS

    def __init__(self, output: str, values: NDArray[np.float32]) -> None:
        self._answer = {output: values}

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        return self._answer if feeds is not None else {}

    def close(self) -> None: ...


def timed(p50: float, profile: Profile = BUCKETS[0]) -> Latency:
    return Latency(profile, p50, p50, 5)


def test_what_was_never_verified_does_not_serve_until_it_is(unverified: Path) -> None:
    with pytest.raises(ArtifactRefused, match=f"nothing has held it .*run `millirank engine verify {unverified}`"):
        open_engine(unverified)
    report = verify_engine(unverified, seconds=0)
    assert (report.passed, report.sealed, report.slowdowns) == (True, True, ())
    manifest = read_manifest(unverified)
    assert {check.metric for check in manifest.parity} == {"cosine_p1", "max_abs_error"}
    assert [one.profile for one in manifest.latencies] == list(BUCKETS)
    assert [path.name for path in unverified.parent.iterdir()] == ["e"]
    open_engine(unverified).engine.close()
    assert not verify_engine(unverified, seconds=0, max_slowdown=1e9).sealed


def test_what_fails_is_not_sealed(unverified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = (Check("cosine_p1", 0.5, 0.999, at_least=True),)
    monkeypatch.setattr("millirank_engines.build.verify.parity", lambda *_: wrong)
    assert not verify_engine(unverified, seconds=0).passed
    assert not read_manifest(unverified).verified


@pytest.mark.parametrize(("sealed", "code", "words"), [(1e-9, 1, "is slower than when it was sealed"), (1e9, 0, "ok")])
def test_verify_compares_with_the_sealed_latencies(unverified: Path, sealed: float, code: int, words: str) -> None:
    verify_engine(unverified, seconds=0)
    manifest = read_manifest(unverified)
    seal(unverified, replace(manifest, latencies=tuple(timed(sealed, p) for p in BUCKETS)))
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["verify", str(unverified), "--seconds", "0"])
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "top10_overlap" in result.output
    assert ("FAILED" in result.output) is bool(code)


def test_a_new_version_is_held_to_the_latencies_of_the_old(built: Path, unverified: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no sealed latencies"):
        verify_engine(unverified, seconds=0, against=built)
    before = tmp_path / "before"
    before.mkdir()
    seal(before, replace(read_manifest(built), files={}, latencies=(timed(1e-9),)))
    report = verify_engine(unverified, seconds=0, against=before)
    assert [profile for profile, check in report.slowdowns if not check.passed] == [BUCKETS[0]]
    assert not report.sealed
    other = read_manifest(before)
    seal(before, replace(other, model=replace(other.model, name="other", hash="ff")))
    with pytest.raises(EngineError, match="is of another model, other: compare with one of shop-encoder"):
        verify_engine(unverified, seconds=0, against=before)


def test_a_slowdown_is_told_for_each_profile_that_was_sealed() -> None:
    new = (timed(1.2), timed(3.0, BUCKETS[1]), timed(9.0, Profile(64, 8)))
    found = slowdowns(new, (timed(1.0), timed(2.0, BUCKETS[1])), 1.25)
    assert [(str(p), round(check.value, 2), check.passed) for p, check in found] == [
        ("1x8", 1.2, True),
        ("16x8", 1.5, False),
    ]


@pytest.mark.parametrize("task", ["embed", "rerank"])
def test_rankings_agree_as_far_as_their_first_ten_are_the_same(task: Task) -> None:
    scores = np.linspace(1, 0, 21, dtype=np.float32)
    swapped = scores.copy()
    swapped[[10, 11]] = swapped[[11, 10]]  # beyond the first ten of a reranker, at the edge for an encoder's rows
    swapped[[3, 15]] = swapped[[15, 3]]
    if task == "embed":
        angles = [np.stack([x, np.sqrt(1 - x * x)], axis=1).astype(np.float32) for x in (scores, swapped)]
        (truth, ours), output = angles, "embedding"
    else:
        (truth, ours), output = (scores, swapped), "score"
    case = Case(Profile(21, 8), {}, truth)
    (same,) = rankings_agree(Answers(output, truth), [case], task, "half")
    assert (same.value, same.passed) == (1.0, True)
    (other,) = rankings_agree(Answers(output, ours), [case], task, "half")
    assert not other.passed
    assert other.value == pytest.approx(0.9 if task == "rerank" else 0.8)
    assert rankings_agree(Answers(output, truth[:8]), [replace(case, reference=truth[:8])], task, "half") == ()
