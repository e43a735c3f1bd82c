import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from millirank.commands import doctor
from millirank.commands.demo import free_port, server
from millirank.config import Settings
from millirank.errors import CatalogError, ConfigError
from millirank.server import Server
from millirank.v1 import search_pb2, search_pb2_grpc
from millirank_engines.base import ArtifactRefused

SERVICE = "millirank.v1.SearchService"


async def health(channel: grpc.aio.Channel, service: str) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_a_server_serves_searches_health_and_reflection(tiny_index: Path) -> None:
    async with (
        Server(Settings(index=tiny_index, port=0, sla_ms=0)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        provisional, final = [r async for r in stub.Search(search_pb2.SearchRequest(query="red kettle", limit=5))]
        assert (provisional.phase, final.phase) == (search_pb2.PHASE_RETRIEVED, search_pb2.PHASE_RANKED)
        assert len(final.hits) == 5
        assert final.rerank_depth == 50
        assert all(hit.product.title and hit.product.id == hit.id for hit in final.hits)
        for name in ("", SERVICE, "grpc.health.v1.Health"):
            assert await health(channel, name) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health(channel, "no.such.Service")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        for version in ("v1", "v1alpha"):
            assert SERVICE in await listed(channel, version)


HOSTILE = (
    "\x00red\x07\x1b[31m kettle\x7f",
    "غلاية حمراء",
    "a\u0301\u200d\u202e kettle",
    "🦊" * 1000,
    "語" * 1000,
    '"(red OR *:* AND ~ kettle^9 title:[a TO z]',
    "\u200b",
)


async def test_hostile_text_is_answered_by_the_real_indexes_and_models(tiny_index: Path) -> None:
    async with (
        Server(Settings(index=tiny_index, port=0, sla_ms=0)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        requests = [search_pb2.SearchRequest(query=query, rerank_depth=2**32 - 1) for query in HOSTILE]
        for request in requests:
            provisional, final = [response async for response in stub.Search(request)]
            assert len({hit.id for hit in final.hits}) == len(provisional.hits) == 10
            assert not final.degraded
        requests += [search_pb2.SearchRequest(), search_pb2.SearchRequest(query="kettle", limit=101)]
        requests += [search_pb2.SearchRequest(query="kettle", explain=True)]
        answers = [a async for a in stub.BatchSearch(search_pb2.BatchSearchRequest(requests=requests))]
    refused = {answer.index: answer.error.code for answer in answers if answer.HasField("error")}
    invalid, unserved = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert refused == {len(HOSTILE): invalid, len(HOSTILE) + 1: invalid, len(HOSTILE) + 2: unserved}
    assert len(answers) == 2 * len(HOSTILE) + len(refused)


async def test_a_promise_that_this_machine_cannot_keep_is_told(
    tiny_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(index=tiny_index, port=0, sla_ms=0.0001, reply_reserve_ms=0)
    async with (
        Server(settings) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Search(search_pb2.SearchRequest(query="kettle")).read()
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "every query will be refused" in caplog.text
    assert "--sla-ms is 0.0001: raise it" in caplog.text


async def listed(channel: grpc.aio.Channel, version: str) -> list[str]:
    """The services that reflection names."""
    call: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return [service.name async for answer in call for service in answer.list_services_response.service]


async def test_a_taken_port_is_refused_with_the_way_out(tiny_index: Path) -> None:
    async with Server(Settings(index=tiny_index, port=0)) as first:
        with pytest.raises(ConfigError, match="choose another --port"):
            async with Server(Settings(index=tiny_index, port=first.port)):
                pass


async def test_an_ipv6_address_is_served(tiny_index: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no ::1: {error}")
    async with (
        Server(Settings(index=tiny_index, host="::1", port=0)) as server,
        grpc.aio.insecure_channel(f"[::1]:{server.port}") as channel,
    ):
        assert await health(channel, SERVICE) == health_pb2.HealthCheckResponse.SERVING


async def test_a_folder_without_engines_or_snapshot_is_refused(tmp_path: Path, tiny_index: Path) -> None:
    with pytest.raises(ArtifactRefused, match="millirank"):
        async with Server(Settings(index=tmp_path, port=0)):
            pass
    with pytest.raises(CatalogError, match="millirank index"):
        async with Server(Settings(index=tmp_path, engines=tiny_index / "engines", port=0)):
            pass


async def test_draining_finishes_what_was_accepted(tiny_index: Path) -> None:
    server = Server(Settings(index=tiny_index, port=0, sla_ms=0))
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        calls = [stub.Search(search_pb2.SearchRequest(query=f"red kettle w{n}")) for n in range(64)]
        answers = [asyncio.create_task(ended(call)) for call in calls]
        first = search_pb2_grpc.SearchServiceStub(channel).Search(search_pb2.SearchRequest(query="red kettle"))
        await first.read()  # by now others were accepted, too
        closing = asyncio.create_task(server.__aexit__(None, None, None))
        outcomes = await asyncio.gather(*answers)
        await closing
    assert set(outcomes) <= {search_pb2.PHASE_RANKED, grpc.StatusCode.UNAVAILABLE}  # served, or told to go elsewhere
    assert search_pb2.PHASE_RANKED in outcomes


async def ended(call: Any) -> int | grpc.StatusCode:
    """The last phase of a call, or its status."""
    try:
        return int([response async for response in call][-1].phase)
    except grpc.aio.AioRpcError as error:
        return error.code()


def test_sigterm_ends_a_serving_process_cleanly(tiny_index: Path) -> None:
    port = free_port()
    with server(tiny_index, port) as target, grpc.insecure_channel(target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        assert len(list(stub.Search(search_pb2.SearchRequest(query="red kettle")))) == 2
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError):
        list(search_pb2_grpc.SearchServiceStub(channel).Search(search_pb2.SearchRequest(query="x"), timeout=1))


def run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millirank", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--index", "no/such/folder"], "millirank"),
        (["serve"], "--index DIR"),
        (["search", "shoe", "--target", "127.0.0.1:1"], "millirank serve"),
        (["eval", "--index", "no/such", "--judgments", "no/such.csv"], "query,docid,rating"),
        (["index", "--catalog", "no/such.jsonl", "--out", "no/index"], "no/such.jsonl"),
    ],
)
def test_a_foreseen_error_is_one_line_that_names_the_fix(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_server_told_to_stop_while_it_starts_stops(tiny_index: Path) -> None:
    command = [sys.executable, "-m", "millirank", "serve", "--index", str(tiny_index), "--port", str(free_port())]
    command += ["--metrics-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_doctor_finds_the_index(tiny_index: Path) -> None:
    done = run("doctor", "--index", str(tiny_index))
    assert "300 products" in done.stdout
    assert "openvino" in done.stdout


def test_doctor_tells_of_what_builds_and_runs_fused_engines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "library_version", lambda name: "3.9.0" if name == "triton" else "")
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.suppress(typer.Exit):
        doctor.doctor()
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    told = {name.strip(): (found.strip(), fix.strip()) for name, found, fix in rows}
    assert told["triton"] == ("3.9.0", "")
    assert told["cuda-python"][0] == "not installed"
    assert "pip install 'millirank[tensorrt]' or 'millirank[fused]'" in told["cuda-python"][1]


def test_doctor_shows_a_fix_as_it_must_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package": "to train: pip install 'millirank[train]'"})
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.suppress(typer.Exit):
        doctor.doctor()
    assert "pip install 'millirank[train]'" in capsys.readouterr().out
