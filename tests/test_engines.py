import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import Tiny, write_model

from millirank_engines import (
    EngineError,
    EngineFailed,
    FakeEngine,
    ModelSpec,
    Profile,
    Task,
    cheapest_profile,
    open_engine,
    pack_pairs,
    pack_sequences,
)
from millirank_engines.build.compile import build_engine
from millirank_engines.build.export import export_model
from millirank_engines.build.openvino import default_profiles
from millirank_engines.build.parity import kendall_tau, parity_feeds
from millirank_engines.device import background_now, this_cpu
from millirank_engines.model import Template
from millirank_engines.openvino import OpenVinoEngine, default_precision
from millirank_engines.pack import Ragged

TASKS: tuple[Task, ...] = ("embed", "rerank")
PROFILES = (Profile(1, 8), Profile(1, 16), Profile(2, 8), Profile(4, 24), Profile(8, 32))
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 0.15}  # in deviations of what the reference says


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {task: write_model(folder / task, Tiny(task=task)) for task in TASKS}


@pytest.fixture(scope="module")
def references(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By task: the spec, the feeds of every profile, and what onnx's evaluator says to them in FP32."""
    from onnx.reference import ReferenceEvaluator

    made = {}
    for task in TASKS:
        export = export_model(str(sources[task]), tmp_path_factory.mktemp("onnx"), task=task)
        evaluator = ReferenceEvaluator(str(export.folder / "model.onnx"))
        feeds = parity_feeds(export.spec, np.arange(5, export.spec.vocab_size, dtype=np.int32), PROFILES)
        made[task] = (export.spec, {p: (feed, evaluator.run(None, dict(feed))[0]) for p, feed in feeds.items()})
    return made


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("task", TASKS)
def test_engines_say_what_the_reference_says(
    task: Task, precision: str, sources: dict[str, Path], references: dict[str, Any], tmp_path: Path
) -> None:
    if precision == "bf16" and not this_cpu().has_bf16:
        pytest.skip("this processor has no bf16")
    out = tmp_path / "engine"
    built = build_engine(str(sources[task]), out, task=task, precision=precision, profiles=PROFILES)
    loaded = open_engine(out, threads=1)
    spec, cases = references[task]
    assert loaded.spec == spec == built.manifest.model
    assert loaded.engine.profiles == PROFILES
    assert loaded.engine.name == f"openvino/{precision}"
    assert loaded.tokenizer.is_file()
    deviation = np.concatenate([truth.ravel() for _, truth in cases.values()]).std()
    for feeds, truth in cases.values():
        (got,) = loaded.engine.infer(feeds).values()
        assert got.dtype == np.float32
        assert got.shape == truth.shape
        np.testing.assert_allclose(got, truth, rtol=0, atol=TOLERANCE[precision] * deviation)
    loaded.engine.close()


@pytest.fixture(scope="module")
def onnx(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelSpec]:
    export = export_model(str(sources["embed"]), tmp_path_factory.mktemp("onnx"), task="embed")
    return export.folder / "model.onnx", export.spec


@pytest.fixture
def engine(onnx: tuple[Path, ModelSpec]) -> Iterator[OpenVinoEngine]:
    made = OpenVinoEngine(onnx[0], PROFILES, "fp32", threads=1)
    yield made
    made.close()


def test_static_and_dynamic_models_agree_in_any_order(onnx: tuple[Path, ModelSpec]) -> None:
    model, spec = onnx
    make = partial(OpenVinoEngine, model, PROFILES, "fp32", threads=1)
    static, dynamic = make(static_tokens=10**6), make(static_tokens=0)
    feeds = parity_feeds(spec, np.arange(5, spec.vocab_size, dtype=np.int32), PROFILES)
    for profile in (*PROFILES, *reversed(PROFILES)):
        a, b = (one.infer(feeds[profile])["embedding"] for one in (static, dynamic))
        np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)


def test_results_belong_to_the_caller(engine: OpenVinoEngine, onnx: tuple[Path, ModelSpec]) -> None:
    profile, spec = PROFILES[0], onnx[1]
    first = engine.infer(pack_sequences([np.array([7, 8])], profile, spec))["embedding"]
    kept = first.copy()
    second = engine.infer(pack_sequences([np.array([9, 10])], profile, spec))["embedding"]
    np.testing.assert_array_equal(first, kept)
    assert not np.allclose(first, second)


def test_padding_changes_nothing(engine: OpenVinoEngine, onnx: tuple[Path, ModelSpec]) -> None:
    texts, spec = [np.array([7, 8, 9])], onnx[1]
    rows = [engine.infer(pack_sequences(texts, profile, spec))["embedding"][0] for profile in PROFILES]
    for row in rows[1:]:
        np.testing.assert_allclose(row, rows[0], atol=1e-5)


def test_a_shape_that_is_no_profile_is_refused(engine: OpenVinoEngine, onnx: tuple[Path, ModelSpec]) -> None:
    with pytest.raises(EngineError, match="3x8: 1x8, 1x16, 2x8, 4x24, 8x32"):
        engine.infer(pack_sequences([], Profile(3, 8), onnx[1]))
    feeds = dict(pack_sequences([], Profile(2, 8), onnx[1]))
    with pytest.raises(EngineError, match="token_type_ids is missing"):
        engine.infer({name: feed for name, feed in feeds.items() if name != "token_type_ids"})
    with pytest.raises(EngineError, match="attention_mask is"):
        engine.infer({**feeds, "attention_mask": np.ones((1, 8), np.int32)})
    with pytest.raises(EngineError, match="of no input_ids"):
        engine.infer({})


def test_a_closed_engine_is_closed(onnx: tuple[Path, ModelSpec]) -> None:
    engine = OpenVinoEngine(onnx[0], PROFILES, "fp32", threads=1)
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.infer(pack_sequences([], PROFILES[0], onnx[1]))


@pytest.mark.skipif(sys.platform != "linux", reason="the policies are Linux's")
def test_a_background_engine_yields_only_once_it_is_told_to(onnx: tuple[Path, ModelSpec]) -> None:
    path, spec = onnx
    engine = OpenVinoEngine(path, PROFILES, "fp32", threads=2, background=True)
    engine.infer(pack_sequences([np.array([5, 6])], Profile(1, 8), spec))
    marked = [thread for thread, policy in policies().items() if policy == os.SCHED_BATCH]
    background_now()
    after = policies()
    engine.close()
    assert marked
    assert {after[thread] for thread in marked if thread in after} <= {os.SCHED_IDLE}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def policies() -> dict[int, int]:
    threads = [int(folder.name) for folder in Path("/proc/self/task").iterdir()]
    return {thread: os.sched_getscheduler(thread) for thread in threads}


def test_what_cannot_be_compiled_is_refused(onnx: tuple[Path, ModelSpec], tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(EngineFailed, match="cannot compile"):
        OpenVinoEngine(tmp_path / "broken.onnx", PROFILES, "fp32")
    with pytest.raises(EngineError, match="'int4' is none of fp32, fp16, bf16"):
        OpenVinoEngine(onnx[0], PROFILES, "int4")


def test_bf16_is_refused_where_the_processor_has_none(
    onnx: tuple[Path, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines import openvino
    from millirank_engines.device import cpu_from_cpuinfo

    monkeypatch.setattr(openvino, "this_cpu", lambda: cpu_from_cpuinfo("flags: avx2", "x86_64"))
    assert default_precision() == "fp32"
    with pytest.raises(EngineError, match="--precision fp32"):
        OpenVinoEngine(onnx[0], PROFILES, "bf16")


def test_the_rest_of_int8_is_fp32_on_every_processor(
    onnx: tuple[Path, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines import openvino
    from millirank_engines.device import cpu_from_cpuinfo

    asked: list[str] = []

    def compiled(self: OpenVinoEngine, *_: object) -> None:
        asked.append(self._settings["INFERENCE_PRECISION_HINT"])

    monkeypatch.setattr(openvino, "this_cpu", lambda: cpu_from_cpuinfo("flags: avx512_bf16 avx512_vnni", "x86_64"))
    monkeypatch.setattr(OpenVinoEngine, "_compile", compiled)
    assert default_precision() == "bf16"
    for precision in ("bf16", "int8"):
        OpenVinoEngine(onnx[0], PROFILES, precision)
    assert asked == ["bf16", "f32"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("max_length", [40, 256, 512])
def test_default_profiles_hold_what_the_template_allows(task: Task, max_length: int) -> None:
    for template in (Template(), Template(query_tokens=60, product_tokens=180)):
        spec = ModelSpec("m", task, "", 8, 1, 8, 100, max_length, 1, 2, 0, template=template)
        profiles = default_profiles(spec)
        longest = template.product_tokens + (2 if task == "embed" else template.query_tokens + 3)
        assert cheapest_profile(profiles, 8, min(longest, max_length)).batch >= 8
        assert max(p.length for p in profiles) <= max_length


def test_the_fake_is_deterministic_and_of_unit_length() -> None:
    texts = [np.array([7, 8, 9]), np.array([7, 8, 10]), np.array([20, 21, 22]), np.array([], int)]
    one, other = FakeEngine(16), FakeEngine(16)
    a, b = (e.infer(pack_sequences(texts, Profile(4, 16), e.spec))["embedding"] for e in (one, other))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-6)
    assert a[0] @ a[1] > a[0] @ a[2]
    longer = one.infer(pack_sequences(texts, Profile(8, 32), one.spec))["embedding"]
    np.testing.assert_allclose(longer[:4], a, atol=1e-6)


def test_the_fake_scores_by_the_query_tokens_that_a_product_has() -> None:
    engine = FakeEngine(task="rerank")
    query = np.array([7, 8])
    products = [np.array([7, 8, 9]), np.array([8, 30]), np.array([31]), np.array([], int)]
    feeds = pack_pairs([query] * 4, products, Profile(4, 16), engine.spec)
    assert engine.infer(feeds)["score"].tolist() == [1.0, 0.5, 0.0, 0.0]


def test_the_fake_fails_where_it_is_told_to() -> None:
    engine = FakeEngine(fail=lambda call: call == 1, delay=lambda _: 0.0)
    feeds = pack_sequences([np.array([7])], Profile(1, 16), engine.spec)
    engine.infer(feeds)
    with pytest.raises(EngineFailed, match="call 1"):
        engine.infer(feeds)
    engine.infer(feeds)
    assert engine.calls == 3
    with pytest.raises(EngineError, match="no profile"):
        engine.infer(pack_sequences([], Profile(3, 16), engine.spec))


def test_a_query_longer_than_its_profile_is_refused_and_a_product_cut() -> None:
    spec = FakeEngine(task="rerank").spec
    feeds = pack_pairs([np.arange(200, 204)], [np.arange(300, 320)], Profile(1, 12), spec)
    assert feeds["input_ids"][0].tolist() == [101, 200, 201, 202, 203, 102, 300, 301, 302, 303, 304, 102]
    with pytest.raises(EngineError, match="a query of 11 tokens does not fit in a pair of 12"):
        pack_pairs([np.arange(200, 211)], [np.arange(3)], Profile(1, 12), spec)


@given(st.data())
def test_pairs_that_share_queries_are_packed_as_each_with_its_own(data: st.DataObject) -> None:
    """Against the definition: [CLS] query [SEP] product [SEP], cut and padded."""
    spec = FakeEngine(task="rerank").spec
    words = st.lists(st.integers(200, 900), max_size=9)
    queries = [np.array(query, np.uint16) for query in data.draw(st.lists(words, min_size=1, max_size=3))]
    owners = np.sort(np.array(data.draw(st.lists(st.integers(0, len(queries) - 1), max_size=6)), np.intp))
    products = [np.array(data.draw(words), np.uint16) for _ in owners]
    feeds = pack_pairs(queries, Ragged.of(products), Profile(6, 14), spec, owners)
    for row in range(6):
        query, product = ([], []) if row >= len(owners) else (queries[owners[row]].tolist(), products[row].tolist())
        head = [spec.cls_id, *query, *[spec.sep_id] * spec.pair_separators]
        tail = [*product[: 13 - len(head)], spec.sep_id]
        padding = 14 - len(head) - len(tail)
        assert feeds["input_ids"][row].tolist() == [*head, *tail, *[spec.pad_id] * padding]
        assert feeds["attention_mask"][row].tolist() == [1] * (14 - padding) + [0] * padding
        assert feeds["token_type_ids"][row].tolist() == [0] * len(head) + [1] * len(tail) + [0] * padding
    alone = pack_pairs([queries[owner] for owner in owners], products, Profile(6, 14), spec)
    for name, tensor in feeds.items():
        assert tensor.dtype == np.int32
        np.testing.assert_array_equal(tensor, alone[name])


def test_packing_reads_products_where_they_lie_and_pads_with_the_models_own_token() -> None:
    spec = replace(FakeEngine(task="rerank").spec, pad_id=1)
    products = Ragged(np.array([9, 300, 301, 302, 9], np.uint32), np.array([1, 4]), np.array([3, 1]))
    feeds = pack_pairs([np.array([7])], products, Profile(3, 8), spec, np.zeros(2, np.intp))
    cls, sep = spec.cls_id, spec.sep_id
    assert feeds["input_ids"].tolist() == [
        [cls, 7, sep, 300, 301, 302, sep, 1],
        [cls, 7, sep, 9, sep, 1, 1, 1],
        [cls, sep, sep, 1, 1, 1, 1, 1],
    ]


def test_a_long_query_without_a_pair_in_a_call_is_not_in_its_way() -> None:
    spec = FakeEngine(task="rerank").spec
    queries, products = [np.array([7]), np.arange(200, 230)], Ragged.of([np.array([300])] * 2)
    feeds = pack_pairs(queries, products, Profile(2, 8), spec, np.zeros(2, np.intp))
    alone = pack_pairs(queries[:1], products, Profile(2, 8), spec, np.zeros(2, np.intp))
    for name, tensor in feeds.items():
        np.testing.assert_array_equal(tensor, alone[name])
    with pytest.raises(EngineError, match="a query of 30 tokens does not fit in a pair of 8"):
        pack_pairs(queries, products, Profile(2, 8), spec, np.array([0, 1]))


def test_ragged_sequences_are_taken_and_joined_in_order() -> None:
    ragged = Ragged.of([np.array([1, 2]), np.array([], int), np.array([3])])
    taken = Ragged.joined([ragged.take(np.array([2, 0])), ragged.head(2), ragged.head(9)])
    assert taken.ids is ragged.ids  # nothing was copied
    assert [taken[i].tolist() for i in range(len(taken))] == [[3], [1, 2], [1, 2], [], [1, 2], [], [3]]
    apart = Ragged.joined([ragged, Ragged.of([np.array([4])])])  # as while two snapshots are served
    assert [apart[i].tolist() for i in range(len(apart))] == [[1, 2], [], [3], [4]]
    assert len(Ragged.of([])) == 0


def test_kendall_tau_counts_pairs_within_rankings() -> None:
    up, down = np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32)[::-1]
    assert kendall_tau([(up, up)]) == 1
    assert kendall_tau([(up, down)]) == -1
    assert kendall_tau([(up, up), (up, down)]) == 0
    assert kendall_tau([(up[:1], up[:1])]) == 1


def test_kendall_tau_leaves_out_what_the_reference_ties() -> None:
    tied = np.array([1, 1, 2], np.float32)
    assert kendall_tau([(tied, tied)]) == 1
    assert kendall_tau([(np.array([2, 1, 3], np.float32), tied)]) == 1
    assert kendall_tau([(np.array([3, 3, 3], np.float32), tied)]) == 0
    assert kendall_tau([(tied, np.ones(3, np.float32))]) == 1
