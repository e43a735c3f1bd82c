"""INT8 before it is sealed: the gate, the choice by the clock, and artifacts of one precision or several."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from models import Tiny, calm, write_model
from numpy.typing import NDArray

from millirank_engines import EngineError, FakeEngine, Figure, Profile, open_engine, read_manifest
from millirank_engines.base import Engine, Tensors
from millirank_engines.build import request
from millirank_engines.build.compile import build_engine
from millirank_engines.build.export import export_model
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.choice import MOST, ROUNDS, TURNS, WARM, chosen, loser, medians, mixed, spread
from millirank_engines.build.quantize.data import pairs_data, random_sequences, sequences_data
from millirank_engines.build.quantize.gate import LIMITS, GateFailed, Judge, allowances, held_to, refuse_losses
from millirank_engines.build.quantize.int8 import Int8
from millirank_engines.build.quantize.scales import FILE, Scales
from millirank_engines.figures import Choice
from millirank_engines.mixed import MixedEngine

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")
BUCKETS = (Profile(1, 8), Profile(2, 16))
GOOD = (Figure("top1", 80.0, 79.8, 0.3, 0.99, 2000), Figure("cosine_p1", 1.0, 0.995, 0.01))
BAD = (Figure("top1", 80.0, 79.5, 0.3, 0.95, 2000), Figure("cosine_p1", 1.0, 0.995, 0.01))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(calm(write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())))


@pytest.fixture(scope="module")
def scales(source: str, tmp_path_factory: pytest.TempPathFactory) -> Scales:
    work = tmp_path_factory.mktemp("work")
    spec = export_model(source, work / "m", task="embed").spec
    data = sequences_data(random_sequences(64, spec, 14), spec, "random tokens")
    return Calibrator(source, task="embed", data=data, work=work).scales(Recipe(weight_bits=7))


def judge(figures: Sequence[Figure]) -> Judge:
    """Says the same figures of any engines, after both have run."""

    def judged(reference: Engine, engine: Engine, say: Callable[[str], None]) -> Sequence[Figure]:
        say("judging")
        ids = np.ones((1, 8), np.int32)
        feeds = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
        first, second = (one.infer(feeds)["embedding"] for one in (reference, engine))
        assert 0.9 < float((first * second).sum()) < 0.999999
        return figures

    return judged


def clock(*durations: float) -> Callable[[], float]:
    """Begins and ends of calls that take these seconds, over and over."""
    now = itertools.count(0.0, 0.0)

    def ticks() -> Iterator[float]:
        at = next(now)
        for duration in itertools.cycle(durations):
            yield at
            at += duration
            yield at

    made = ticks()
    return lambda: next(made)


# The gate


def test_losses_within_the_limits_pass_and_others_fail_with_the_table() -> None:
    refuse_losses("shop", GOOD)
    with pytest.raises(GateFailed) as caught:
        refuse_losses("shop", BAD)
    said = str(caught.value)
    assert "top1 80 → 79.5 (loses 0.5, may lose 0.3) FAILED; cosine_p1 1 → 0.995 (loses 0.005, may lose 0.01)" in said
    assert "--allow-loss top1=0.5`" in said
    assert caught.value.figures == BAD


def test_a_loss_is_allowed_by_name_alone() -> None:
    refuse_losses("shop", held_to(BAD, allowances("top1=0.5")))
    with pytest.raises(GateFailed):
        refuse_losses("shop", held_to(BAD, allowances("cosine_p1=0.5")))
    with pytest.raises(EngineError, match=r"names recall@100, which was not measured: name cosine_p1, top1"):
        held_to(BAD, allowances("recall@100=1"))
    for wrong in ("0.5", "top1", "top1=x", "top1=-1", "speed=1", "top1=nan"):
        with pytest.raises(EngineError, match=r"names no figure and its loss: write top1=0\.5; figures are top1, ndcg"):
            allowances(wrong)
    assert allowances("") == {}


def test_a_loss_that_was_allowed_once_is_not_allowed_again() -> None:
    sealed = held_to(BAD, {"top1": 0.5})
    assert [figure.limit for figure in sealed] == [0.5, 0.01]
    with pytest.raises(GateFailed, match=r"top1 .*may lose 0\.3\) FAILED"):
        refuse_losses("shop", held_to(sealed, {}))
    refuse_losses("shop", held_to(sealed, {"top1": 0.5}))


def test_a_key_depends_on_what_the_gate_asks_and_on_its_limits(scales: Scales, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"texts": "a", "depth": 50}
    one = Int8(scales, judge(GOOD), asked=asked)
    assert one.key() == Int8(scales, judge(GOOD), asked=dict(asked)).key()
    assert json.loads(json.dumps(one.key())) == one.key()
    keys = [one.key(), Int8(scales, judge(GOOD), asked={**asked, "depth": 20}).key(), Int8(scales).key()]
    passed = replace(scales, about={**scales.about, "gate": [asdict(figure) for figure in GOOD]})
    keys.append(Int8(passed).key())
    monkeypatch.setitem(LIMITS, "top1", 0.1)
    keys.append(Int8(scales, judge(GOOD), asked=asked).key())
    assert not any(a == b for a, b in itertools.combinations(keys, 2))


def test_a_figure_that_is_no_number_never_passes() -> None:
    assert not Figure("top1", 80.0, float("nan"), 0.3).passed
    assert Figure("top1", 80.0, 79.7, 0.3).passed  # 0.3 to the last bit of a float
    assert Figure("top1", 80.0, 81.0, 0.3).passed


# The choice


def test_each_profile_takes_what_is_faster_there() -> None:
    times = {Profile(1, 8): {"fp32": 1.0, "int8": 1.2}, Profile(50, 32): {"fp32": 100.0, "int8": 40.0}}
    assert [c.precision for c in chosen(times, "fp32", "int8", together=False)] == ["fp32", "int8"]
    hardly = {Profile(1, 8): {"fp32": 1.0, "int8": 0.99}}
    assert [c.precision for c in chosen(hardly, "fp32", "int8", together=False)] == ["fp32"]
    with pytest.raises(EngineError, match="no profile to choose a precision for: name one"):
        chosen({}, "fp32", "int8", together=False)


def test_a_rerankers_profiles_share_one_precision_that_is_slower_in_none() -> None:
    small, large = Profile(2, 24), Profile(50, 32)
    times = {small: {"fp32": 1.0, "int8": 0.9}, large: {"fp32": 100.0, "int8": 40.0}}
    assert {c.precision for c in chosen(times, "fp32", "int8", together=True)} == {"int8"}
    times[small]["int8"] = 1.2
    assert {c.precision for c in chosen(times, "fp32", "int8", together=True)} == {"fp32"}


def test_some_profiles_stand_for_all_from_the_smallest_to_the_largest() -> None:
    many = [Profile(batch, length) for batch in (2, 3, 4, 8, 50) for length in (24, 32, 64)]
    some = spread(many, 4)
    assert len(some) == 4
    assert (some[0], some[-1]) == (Profile(2, 24), Profile(50, 64))
    assert [one.tokens for one in some] == sorted(one.tokens for one in some)
    assert set(spread(many, None)) == set(spread(many, 99)) == set(many)


def test_a_reranker_that_is_timed_at_some_shapes_runs_all_in_what_they_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines.build.quantize import trial

    model = str(calm(write_model(tmp_path / "shop-reranker", Tiny(task="rerank"))))
    spec = export_model(model, tmp_path / "m", task="rerank").spec
    texts = random_sequences(64, spec, 6)
    data = pairs_data(list(zip(texts[::2], texts[1::2], strict=True)), spec, "random tokens")
    made = Calibrator(model, task="rerank", data=data, work=tmp_path / "work").scales(Recipe(weight_bits=7))
    monkeypatch.setattr(trial, "medians", lambda e, f, *_: {p: dict(zip(e, (2.0, 1.0), strict=True)) for p in f})
    profiles = [Profile(batch, 16) for batch in (1, 2, 3, 4)]
    int8 = Int8(made, lambda *_: (), timed=2)
    artifact = build_engine(
        model, tmp_path / "e", task="rerank", backend="openvino", precision="auto", profiles=profiles, int8=int8
    )
    choices = artifact.manifest.choices
    assert [choice.profile for choice in choices] == profiles
    assert {choice.precision for choice in choices} == {"int8"}
    assert [bool(choice.times) for choice in choices] == [True, False, False, True]
    opened = open_engine(tmp_path / "e").engine
    assert opened.profiles == tuple(profiles)
    opened.close()


class Noted(FakeEngine):
    """Writes down which call is whose."""

    def __init__(self, label: str, order: list[tuple[str, int]], profiles: Sequence[Profile] = BUCKETS) -> None:
        super().__init__(4, profiles=profiles)
        self._label, self._order = label, order

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        self._order.append((self._label, len(feeds["input_ids"])))
        return super().infer(feeds)


def feeds_of(profiles: Sequence[Profile]) -> dict[Profile, Tensors]:
    ids = {p: np.ones((p.batch, p.length), np.int32) for p in profiles}
    return {p: {"input_ids": x, "attention_mask": x, "token_type_ids": x} for p, x in ids.items()}


def test_each_is_timed_in_turns_of_its_own_with_its_shapes_mixed() -> None:
    order: list[tuple[str, int]] = []
    feeds = feeds_of(BUCKETS)
    entrants = {label: dict.fromkeys(BUCKETS, Noted(label, order)) for label in ("fp32", "int8")}
    found = medians(entrants, feeds, clock(0.01))
    assert found == {p: pytest.approx({"fp32": 10.0, "int8": 10.0}) for p in BUCKETS}
    turns = order[2 * 4 :]  # how often each is called is found by two calls
    stretches = [list(group) for _, group in itertools.groupby(turns, key=lambda call: call[0])]
    assert {label for label, _ in turns} == {"fp32", "int8"}
    assert len(turns) == TURNS * 2 * (2 * WARM + 2 * ROUNDS // TURNS)
    assert len(stretches) <= 2 * TURNS
    timed = turns[2 * WARM : 2 * WARM + 2 * ROUNDS // TURNS]
    assert {batch for _, batch in timed} == {1, 2}


def test_what_takes_long_is_timed_less_often_and_what_is_short_more() -> None:
    def calls(seconds: float) -> int:
        order: list[tuple[str, int]] = []
        medians({"fp32": {BUCKETS[0]: Noted("fp32", order)}}, feeds_of(BUCKETS[:1]), clock(seconds))
        return len(order) - 2

    assert calls(0.04) == TURNS
    assert calls(0.02) == ROUNDS + TURNS * WARM
    assert calls(0.002) == 25 + TURNS * WARM  # 50 ms
    assert calls(1e-6) == MOST + TURNS * WARM


def test_a_mixture_that_makes_a_profile_slower_loses_the_profile_that_gains_least() -> None:
    small, middle, large = (Profile(n, 16) for n in (1, 8, 32))
    made = [Choice(small, "int8", {}), Choice(middle, "fp16", {}), Choice(large, "int8", {})]
    assert mixed(made)
    assert not mixed(made[:1])
    fine = {small: {"fp16": 1.0, "m": 0.95}, middle: {"fp16": 1.0, "m": 1.02}, large: {"fp16": 1.0, "m": 0.5}}
    assert loser(made, fine, "fp16", "int8", "m") is None
    assert loser(made, {**fine, middle: {"fp16": 1.0, "m": 1.1}}, "fp16", "int8", "m") == small
    assert loser(made, {**fine, large: {"fp16": 1.0, "m": 1.01}}, "fp16", "int8", "m") == large


# Artifacts


def build(source: str, out: Path, precision: str, int8: Int8 | None, **more: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return build_engine(source, out, task="embed", precision=precision, profiles=BUCKETS, int8=int8, **more)  # type: ignore[arg-type]


def test_int8_is_sealed_with_its_figures_and_its_scales(source: str, scales: Scales, tmp_path: Path) -> None:
    said: list[str] = []
    made = build(source, tmp_path / "e", "int8", Int8(scales, judge(GOOD)), progress=said.append)
    assert "judging" in said
    manifest = read_manifest(tmp_path / "e")
    assert manifest == made.manifest
    assert (manifest.precision, manifest.accuracy) == ("int8", GOOD)
    assert manifest.quantization["recipe"]["method"] == "max"
    assert [check.metric for check in manifest.parity] == ["reference_error", "cosine_p1"]
    loaded = open_engine(tmp_path / "e")
    assert loaded.engine.name == "openvino/int8"
    loaded.engine.close()
    again = Int8(Scales.read(tmp_path / "e" / FILE))
    assert again.sealed() == GOOD
    assert build(source, tmp_path / "other", "int8", again).manifest.accuracy == GOOD
    assert build(source, tmp_path / "e", "int8", Int8(scales, judge(GOOD))).reused
    with pytest.raises(GateFailed):
        build(source, tmp_path / "e", "int8", Int8(scales, judge(BAD), asked={"texts": "others"}))


def test_another_gates_code_is_another_build(
    source: str, scales: Scales, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source, tmp_path / "e", "int8", Int8(scales, judge(GOOD)))
    before = request.sha256_of
    monkeypatch.setattr(request, "sha256_of", lambda path: "other" if path.name == "gate.py" else before(path))
    with pytest.raises(GateFailed):
        build(source, tmp_path / "e", "int8", Int8(scales, judge(BAD)))


def test_what_loses_too_much_is_not_written(source: str, scales: Scales, tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="nothing was written"):
        build(source, tmp_path / "e", "int8", Int8(scales, judge(BAD)))
    assert list(tmp_path.iterdir()) == []
    assert (
        build(source, tmp_path / "e", "int8", Int8(scales, judge(BAD), {"top1": 0.5})).manifest.accuracy[0].limit == 0.5
    )


def test_auto_mixes_precisions_by_profile(
    source: str, scales: Scales, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines.build.quantize import trial

    alone = {BUCKETS[0]: (1.0, 2.0), BUCKETS[1]: (9.0, 3.0)}
    together = {BUCKETS[0]: (1.0, 1.01), BUCKETS[1]: (9.0, 3.1)}

    def timed(entrants: Mapping[str, object], *_: object) -> dict[Profile, dict[str, float]]:
        found = alone if "int8" in entrants else together
        return {p: dict(zip(entrants, both, strict=True)) for p, both in found.items()}

    monkeypatch.setattr(trial, "medians", timed)
    manifest = build(source, tmp_path / "e", "auto", Int8(scales, judge(GOOD))).manifest
    base = next(name for name in manifest.precision.split("+") if name != "int8")
    assert manifest.precision == f"{base}+int8"
    assert manifest.parts == {base: (BUCKETS[0],), "int8": (BUCKETS[1],)}
    assert {"int8.xml", "int8.bin", f"{base}.xml", f"{base}.bin", FILE} <= manifest.files.keys()
    times = {BUCKETS[0]: {base: 1.0, "int8": 2.0}, BUCKETS[1]: {base: 9.0, "int8": 3.0}}
    times = {p: {**both, f"{base}+int8": together[p][1]} for p, both in times.items()}
    assert [choice.times for choice in read_manifest(tmp_path / "e").choices] == list(times.values())
    loaded = open_engine(tmp_path / "e")
    assert isinstance(loaded.engine, MixedEngine)
    assert loaded.engine.profiles == BUCKETS
    for profile in BUCKETS:
        ids = np.ones((profile.batch, profile.length), np.int32)
        feeds = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
        assert loaded.engine.infer(feeds)["embedding"].shape[0] == profile.batch
    with pytest.raises(EngineError, match="no profile of openvino/"):
        loaded.engine.infer({"input_ids": np.ones((3, 3), np.int32)})
    loaded.engine.close()


def test_auto_does_not_mix_what_is_slower_together(
    source: str, scales: Scales, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines.build.quantize import trial

    asked: list[list[str]] = []

    def timed(entrants: Mapping[str, object], *_: object) -> dict[Profile, dict[str, float]]:
        asked.append(list(entrants))
        times = {BUCKETS[0]: (1.0, 2.0), BUCKETS[1]: (9.0, 3.0)} if "int8" in entrants else {}
        return {p: dict(zip(entrants, times.get(p, (1.0, 1.2)), strict=True)) for p in BUCKETS}

    monkeypatch.setattr(trial, "medians", timed)
    manifest = build(source, tmp_path / "e", "auto", Int8(scales, judge(GOOD))).manifest
    assert len(asked) == 2
    assert "int8" not in manifest.precision
    assert "not faster" in manifest.quantization["left_out"]
    open_engine(tmp_path / "e").engine.close()


@pytest.mark.parametrize(
    ("figures", "int8_ms", "reason"), [(GOOD, 2.0, "not faster"), (BAD, 0.5, "loses too much: top1")]
)
def test_auto_leaves_int8_out_where_it_does_not_pay(
    source: str,
    scales: Scales,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Sequence[Figure],
    int8_ms: float,
    reason: str,
) -> None:
    from millirank_engines.build.quantize import trial

    monkeypatch.setattr(trial, "medians", lambda e, *_: {p: dict(zip(e, (1.0, int8_ms), strict=True)) for p in BUCKETS})
    manifest = build(source, tmp_path / "e", "auto", Int8(scales, judge(figures))).manifest
    assert "int8" not in manifest.precision
    assert reason in manifest.quantization["left_out"]
    assert "model.xml" in manifest.files
    assert FILE not in manifest.files
    open_engine(tmp_path / "e").engine.close()


def test_scales_must_be_there_gated_and_of_the_model(source: str, scales: Scales, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="precision int8 needs scales: name what to calibrate on with --calibration"):
        build(source, tmp_path / "e", "int8", None)
    with pytest.raises(EngineError, match="never passed the gate: name an index"):
        build(source, tmp_path / "e", "int8", Int8(scales))
    other = replace(scales, about={"model": "f" * 64, "name": "other"})
    with pytest.raises(EngineError, match=r"of other \(f{12}\), not of shop-encoder .*--calibration"):
        build(source, tmp_path / "e", "int8", Int8(other, judge(GOOD)))


def test_a_plan_for_a_gpu_elsewhere_is_gated_by_its_graph(
    source: str, scales: Scales, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'millirank[tensorrt-rtx-build]'")
    from millirank_engines.build import tensorrt
    from millirank_engines.build.backend import backend_of

    monkeypatch.setattr(tensorrt, "this_gpu", lambda: None)
    backend = backend_of("tensorrt-rtx", {"compute_capability": "8.9"})
    eight = replace(scales, weight_bits=8)
    made = build(source, tmp_path / "e", "int8", Int8(eight, judge(GOOD)), backend=backend).manifest
    assert (made.precision, made.verified, made.accuracy) == ("int8", False, GOOD)
    assert {"model.plan", FILE} <= made.files.keys()
    with pytest.raises(EngineError, match="auto chooses by measurement, and any GPU of sm_89 is not here"):
        build(source, tmp_path / "a", "auto", Int8(eight, judge(GOOD)), backend=backend)
