import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from gpu_kit import DEVICE, gpu_engines, install, process_environment
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millirank.commands.demo import free_port
from millirank.config import Settings
from millirank.errors import ConfigError, Unavailable
from millirank.jobs import EncodeJob
from millirank.server import Server
from millirank.stack import CoreSide
from millirank.v1 import search_pb2, search_pb2_grpc
from millirank_engines import (
    DeviceLost,
    EngineError,
    EngineFailed,
    FakeEngine,
    Profile,
    open_engine,
    pack_pairs,
    pack_sequences,
    read_manifest,
)
from millirank_engines.cuda import host_array
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.faketrt import KEPT, KERNELS, WEIGHTS, FakeTensorRt, fake_plan
from millirank_engines.tensorrt import TensorRtEngine
from millirank_engines.trtmodule import trt_logger
from millirank_engines.trtplan import Range, narrowest

PROFILES = (Profile(1, 8), Profile(1, 16), Profile(4, 16), Profile(16, 32))
WIDE, NARROW = Range((1, 1), (8, 16), (64, 128)), Range((1, 1), (1, 16), (4, 16))
TEXTS = [np.array([7, 8, 9]), np.array([7, 8, 10]), np.array([20, 21]), np.array([5])]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    device = FakeCuda()
    install(device, monkeypatch.setattr, monkeypatch.setitem)
    yield device
    trt_logger.cache_clear()


def an_engine(cuda: FakeCuda, folder: Path, *, ranges: tuple[Range, ...] = (WIDE, NARROW), **options: Any) -> Any:
    plan = folder / "model.plan"
    profiles = options.pop("profiles", PROFILES)
    plan.write_bytes(fake_plan(ranges, profiles, task=options.pop("task", "embed")))
    made = FakeTensorRt(cuda)
    logger = trt_logger("tensorrt")
    return TensorRtEngine(plan, profiles, "fp16", trt=made, logger=logger, cuda=cuda, **options)


@pytest.mark.parametrize("graphs", [True, False])
def test_it_says_what_the_model_says_whatever_ran_before(cuda: FakeCuda, tmp_path: Path, *, graphs: bool) -> None:
    engine = an_engine(cuda, tmp_path, graphs=graphs)
    truth = FakeEngine(profiles=PROFILES)
    random = np.random.default_rng(3)
    for place in random.integers(0, len(PROFILES), 40):
        feeds = pack_sequences(TEXTS[: PROFILES[place].batch], PROFILES[place], truth.spec)
        got = engine.infer(feeds)["embedding"]
        np.testing.assert_array_equal(got, truth.infer(feeds)["embedding"])
    kept = got.copy()
    engine.infer(pack_sequences([], PROFILES[place], truth.spec))
    np.testing.assert_array_equal(got, kept)  # it is the caller's own
    assert engine.name == "tensorrt/fp16"


def test_a_reranker_gives_a_score_a_row(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, truth = an_engine(cuda, tmp_path, task="rerank"), FakeEngine(task="rerank", profiles=PROFILES)
    feeds = pack_pairs([np.array([7, 8])] * 4, TEXTS, PROFILES[2], truth.spec)
    assert engine.infer(feeds)["score"].tolist() == truth.infer(feeds)["score"].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_an_inference_is_one_launch_and_one_wait(cuda: FakeCuda, tmp_path: Path) -> None:
    engine = an_engine(cuda, tmp_path)
    feeds = pack_sequences(TEXTS[:1], PROFILES[0], FakeEngine().spec)
    cuda.calls.clear()
    for _ in range(3):
        engine.infer(feeds)
    assert cuda.calls == ["launch", "synchronize"] * 3
    assert engine.graph_nodes == {profile: {"Memcpy": 1, "Kernel": KERNELS} for profile in PROFILES}


def test_everything_is_allocated_at_load_and_freed_at_close(cuda: FakeCuda, tmp_path: Path) -> None:
    before = cuda.free_memory()
    engine = an_engine(cuda, tmp_path)
    memory, free = engine.memory, cuda.free_memory()
    assert memory.activations == 64 * WIDE.high[0] * WIDE.high[1]  # of the larger profile, once
    assert memory.runtime == WEIGHTS + len(PROFILES) * KEPT
    assert memory.staging == 3 * 4 * 16 * 32  # three inputs of the largest bucket
    assert memory.pinned == memory.staging + 4 * 16 * 8  # and its output
    assert cuda.calls.count("allocate_pinned") == 1
    assert cuda.calls.count("allocate") == 1 + memory.allocations
    spec = FakeEngine().spec
    for turn in range(1000):
        engine.infer(pack_sequences(TEXTS[:1], PROFILES[turn % 4], spec))
    assert (engine.memory, cuda.free_memory()) == (memory, free)
    engine.close()
    gc.collect()
    assert (cuda.open, cuda.free_memory()) == ({}, before)
    engine.close()  # once more does no harm
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.infer(pack_sequences([], PROFILES[0], spec))


def test_a_bucket_runs_on_the_narrowest_profile_that_holds_it() -> None:
    exact = Range((50, 32), (50, 32), (50, 32))
    ranges = [WIDE, NARROW, exact]
    assert [narrowest(ranges, p) for p in (Profile(1, 8), Profile(5, 8), Profile(50, 32))] == [1, 0, 2]
    near, far = Range((1, 1), (2, 8), (4, 16)), Range((1, 1), (4, 16), (4, 16))
    assert narrowest([near, far], Profile(1, 16)) == 0  # equally wide: its kernels were chosen for a nearer shape
    with pytest.raises(EngineError, match=r"65x8 lies in no optimization profile .*1x1-64x128.*holds 65x8"):
        narrowest(ranges, Profile(65, 8))


def test_the_encoders_stream_goes_before_the_rerankers(cuda: FakeCuda, tmp_path: Path) -> None:
    first, second = an_engine(cuda, tmp_path), an_engine(cuda, tmp_path, background=True)
    assert [cuda.urgent(engine._stream) for engine in (first, second)] == [True, False]
    first.close()
    assert second.infer(pack_sequences([], PROFILES[0], FakeEngine().spec))  # engines share nothing but the device


def test_feeds_that_do_not_fit_are_refused(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, spec = an_engine(cuda, tmp_path), FakeEngine().spec
    with pytest.raises(EngineError, match="no profile of tensorrt/fp16 has the shape 3x16: 1x8, 1x16, 4x16, 16x32"):
        engine.infer(pack_sequences([], Profile(3, 16), spec))
    feeds = dict(pack_sequences([], PROFILES[0], spec))
    del feeds["attention_mask"]
    with pytest.raises(EngineError, match="attention_mask is missing"):
        engine.infer(feeds)


def test_what_cannot_be_loaded_is_told_with_tensorrts_words_and_leaves_nothing(cuda: FakeCuda, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="16x32 lies in no optimization profile"):
        an_engine(cuda, tmp_path, ranges=(NARROW,))
    (tmp_path / "model.plan").write_bytes(b"\0 no plan")
    logger = trt_logger("tensorrt")
    with pytest.raises(EngineFailed, match=r"cannot load .*: deserialization failed: the magic tag .*engine build"):
        TensorRtEngine(tmp_path / "model.plan", PROFILES, "fp16", trt=FakeTensorRt(cuda), logger=logger, cuda=cuda)
    gc.collect()
    assert cuda.open == {}


@pytest.mark.parametrize(
    "call", ["allocate", "allocate_pinned", "begin_capture", "end_capture", "instantiate", "launch"]
)
def test_whatever_fails_at_load_everything_is_freed(cuda: FakeCuda, tmp_path: Path, call: str) -> None:
    cuda.faults[call] = "cudaErrorMemoryAllocation"
    with pytest.raises(EngineFailed, match=r"cudaErrorMemoryAllocation|out of memory|gave no reason"):
        an_engine(cuda, tmp_path)
    gc.collect()
    assert cuda.open == {}


def test_a_graph_that_cannot_be_captured_is_an_error_and_no_fallback(cuda: FakeCuda, tmp_path: Path) -> None:
    cuda.faults["end_capture"] = "cudaErrorStreamCaptureInvalidated"
    with pytest.raises(EngineFailed, match=r"1x8 of tensorrt/fp16 cannot become a CUDA graph: .*Invalidated"):
        an_engine(cuda, tmp_path)


def test_an_inference_that_fails_leaves_the_next_one_alone(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, spec = an_engine(cuda, tmp_path), FakeEngine().spec
    feeds = pack_sequences(TEXTS[:1], PROFILES[0], spec)
    truth = engine.infer(feeds)["embedding"]
    cuda.faults["launch"] = "cudaErrorLaunchOutOfResources"
    with pytest.raises(EngineFailed, match="cudaErrorLaunchOutOfResources"):
        engine.infer(feeds)
    np.testing.assert_array_equal(engine.infer(feeds)["embedding"], truth)


def test_without_graphs_tensorrts_words_become_the_error(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, spec = an_engine(cuda, tmp_path, graphs=False), FakeEngine().spec
    context = engine._buckets[1, 8].context
    context.set_device_memory(0, 0)
    with pytest.raises(EngineFailed, match="cannot run 1x8: IExecutionContext: it needs 4096 bytes"):
        engine.infer(pack_sequences([], PROFILES[0], spec))
    assert engine.graph_nodes == {}


def test_a_sticky_error_is_a_lost_device_and_close_leaves_it_alone(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, spec = an_engine(cuda, tmp_path), FakeEngine().spec
    feeds = pack_sequences(TEXTS[:1], PROFILES[0], spec)
    cuda.faults["kernel"] = "cudaErrorECCUncorrectable"
    for _ in range(2):  # it stays lost
        with pytest.raises(DeviceLost, match="cudaErrorECCUncorrectable"):
            engine.infer(feeds)
    cuda.calls.clear()
    engine.close()
    assert cuda.calls == []


def test_an_engine_closes_beside_one_that_lost_the_device(cuda: FakeCuda, tmp_path: Path) -> None:
    one, other = an_engine(cuda, tmp_path), an_engine(cuda, tmp_path)
    cuda.faults["kernel"] = "cudaErrorLaunchFailure"
    with pytest.raises(DeviceLost):
        one.infer(pack_sequences([], PROFILES[0], FakeEngine().spec))
    other.close()
    assert other.profiles == ()


def test_rtx_is_asked_to_compile_at_once(cuda: FakeCuda, tmp_path: Path) -> None:
    engine = an_engine(cuda, tmp_path, backend="tensorrt-rtx")
    assert engine.name == "tensorrt-rtx/fp16"
    assert engine.infer(pack_sequences([], PROFILES[0], FakeEngine().spec))


def test_padding_of_an_earlier_bucket_never_shows(cuda: FakeCuda, tmp_path: Path) -> None:
    engine, truth = an_engine(cuda, tmp_path), FakeEngine(profiles=PROFILES)
    engine.infer(pack_sequences([np.arange(30)] * 16, PROFILES[3], truth.spec))
    block = host_array(engine._host, (engine.memory.pinned,), np.uint8)
    block[...] = 0xFF
    feeds = pack_sequences(TEXTS[:1], PROFILES[0], truth.spec)
    np.testing.assert_array_equal(engine.infer(feeds)["embedding"], truth.infer(feeds)["embedding"])


@pytest.fixture(scope="module")
def engines(tiny_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpu_engines(tiny_index, tmp_path_factory.mktemp("gpu") / "engines")


def on_gpu(index: Path, engines: Path, **more: Any) -> Settings:
    return Settings(index=index, engines=engines, devices=(DEVICE,), port=0, sla_ms=0, **more)


def test_a_sealed_artifact_opens_on_the_gpu(cuda: FakeCuda, tiny_index: Path, engines: Path) -> None:
    loaded, truth = open_engine(engines / "encoder"), open_engine(tiny_index / "engines" / "encoder")
    profile = loaded.engine.profiles[0]
    feeds = pack_sequences([np.array([7, 8])], profile, loaded.spec)
    error = loaded.engine.infer(feeds)["embedding"] - truth.engine.infer(feeds)["embedding"]
    assert np.abs(error).max() < 0.02  # one computes in fp32, the other in what suits this machine
    assert loaded.manifest.backend == "tensorrt"
    assert cuda.open["executable"] == len(loaded.engine.profiles)
    for one in (loaded, truth):
        one.engine.close()


async def test_the_whole_service_runs_on_a_gpu(cuda: FakeCuda, tiny_index: Path, engines: Path) -> None:
    async with (
        Server(on_gpu(tiny_index, engines)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        cuda.calls.clear()
        answers = [r async for r in stub.Search(search_pb2.SearchRequest(query="red kettle", limit=5))]
        assert [answer.phase for answer in answers] == [search_pb2.PHASE_RETRIEVED, search_pb2.PHASE_RANKED]
        assert answers[1].rerank_depth == 50
        assert not answers[1].degraded
        assert set(cuda.calls) == {"launch", "synchronize"}
    gc.collect()
    assert cuda.open == {}


async def test_a_lost_device_ends_what_runs_and_tells_the_server(
    cuda: FakeCuda, tiny_index: Path, engines: Path
) -> None:
    async with (
        Server(on_gpu(tiny_index, engines)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        cuda.faults["kernel"] = "cudaErrorIllegalAddress"
        answers = [r async for r in stub.Search(search_pb2.SearchRequest(query="red kettle"))]
        assert answers[-1].phase == search_pb2.PHASE_RANKED  # the accepted request ends, by words alone
        assert answers[-1].degraded
        with pytest.raises(DeviceLost, match="cudaErrorIllegalAddress"):
            await server.wait(asyncio.Event())


@pytest.mark.usefixtures("cuda")
def test_engines_of_a_gpu_need_its_device_named(tiny_index: Path, engines: Path) -> None:
    with pytest.raises(ConfigError, match="is for a gpu, the device is cpu: name a gpu with --device"):
        CoreSide(Settings(index=tiny_index, engines=engines))


def test_a_core_that_lost_its_device_refuses_what_comes_later(cuda: FakeCuda, tiny_index: Path, engines: Path) -> None:
    side = CoreSide(on_gpu(tiny_index, engines))
    told: list[DeviceLost] = []
    found = threading.Event()
    side.core.on_lost = lambda error: (told.append(error), found.set())[0]
    ended: list[Any] = []
    cuda.faults["kernel"] = "cudaErrorLaunchFailure"
    side.core.submit(EncodeJob(ended.append, None, np.array([7])))
    assert found.wait(20)
    side.core.submit(EncodeJob(ended.append, None, np.array([7])))
    assert [type(one) for one in ended] == [DeviceLost, Unavailable]
    assert len(told) == 1
    side.close()


def test_the_priorities_of_a_gpu_are_those_of_streams(
    cuda: FakeCuda, tiny_index: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def background() -> None:
        raise AssertionError

    monkeypatch.setattr("millirank_engines.device.background", background)
    side = CoreSide(on_gpu(tiny_index, engines))
    lanes = (side.core._encodes, side.core._reranks)
    streams = [vars(lane.model.engine)["_stream"] for lane in lanes]
    assert [cuda.urgent(stream) for stream in streams] == [True, False]
    assert all(lane._thread is not None and lane._thread.is_alive() for lane in lanes)
    side.close()


def serving(index: Path, engines: Path, environment: dict[str, str], log: Path, *more: str) -> tuple[Any, str]:
    port = free_port()
    command = [sys.executable, "-m", "millirank", "serve", "--index", str(index), "--engines", str(engines)]
    command += ["--device", DEVICE, "--port", str(port), "--sla-ms", "0", "--metrics-port", "0", *more]
    with log.open("wb") as said:
        return subprocess.Popen(command, env=environment, stderr=said), f"127.0.0.1:{port}"


def status(target: str) -> int:
    """What health says; 0 where nobody answers."""
    with grpc.insecure_channel(target) as channel:
        try:
            return int(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1).status)
        except grpc.RpcError:
            return 0


def until(condition: Any, what: Path) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what.read_text()
        time.sleep(0.02)


def search(target: str) -> Any:
    with grpc.insecure_channel(target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        return list(stub.Search(search_pb2.SearchRequest(query="red kettle"), timeout=20))[-1]


def test_a_server_that_lost_its_device_says_so_and_exits(tiny_index: Path, engines: Path, tmp_path: Path) -> None:
    lose, log = tmp_path / "lose", tmp_path / "log"
    process, target = serving(tiny_index, engines, process_environment(tmp_path / "site", lose), log)
    try:
        until(lambda: status(target) == health_pb2.HealthCheckResponse.SERVING, log)
        assert not search(target).degraded
        lose.touch()
        assert search(target).degraded  # answered, by words alone
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    assert "cudaErrorIllegalAddress" in said
    assert "error: " in said
    assert "Traceback" not in said


def degraded_or_unavailable(target: str) -> bool:
    """UNAVAILABLE comes where the core's end was known before the rerank was sent."""
    try:
        return search(target).degraded
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_core_that_lost_its_device_is_started_anew(tiny_index: Path, engines: Path, tmp_path: Path) -> None:
    lose, log = tmp_path / "lose", tmp_path / "log"
    environment = process_environment(tmp_path / "site", lose)
    process, target = serving(tiny_index, engines, environment, log, "--frontends", "1")
    try:
        until(lambda: status(target) == health_pb2.HealthCheckResponse.SERVING, log)
        cores = [c for c in psutil.Process(process.pid).children() if "corehost" in " ".join(c.cmdline())]
        lose.touch()
        assert degraded_or_unavailable(target)
        psutil.wait_procs(cores, timeout=30)
        assert not any(core.is_running() for core in cores)
        until(lambda: log.read_text().count("core-0 is ready") == 2, log)
        until(lambda: status(target) == health_pb2.HealthCheckResponse.SERVING, log)
        until(lambda: not search(target).degraded, log)
    finally:
        process.terminate()
        process.wait(30)
    assert "started again" in log.read_text()
    assert "cudaErrorIllegalAddress" in log.read_text()


def test_the_manifest_says_what_it_is_bound_to(engines: Path) -> None:
    manifest = read_manifest(engines / "reranker")
    assert manifest.device.kind == "gpu"
    assert manifest.baseline["gpu"] == "Fake GPU"
