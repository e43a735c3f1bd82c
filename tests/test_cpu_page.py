"""The page of figures on a processor: answers that a slow machine refuses."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from millirank.v1 import search_pb2, search_pb2_grpc


class Refused(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class Stub:
    """Answers a query unless it says with which status it is to end."""

    def __init__(self, _: object) -> None:
        pass

    def Search(self, request: search_pb2.SearchRequest) -> Iterator[search_pb2.SearchResponse]:  # noqa: N802 - gRPC's
        if hasattr(grpc.StatusCode, request.query):
            raise Refused(grpc.StatusCode[request.query])
        yield search_pb2.SearchResponse(rerank_depth=4)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    monkeypatch.setattr(search_pb2_grpc, "SearchServiceStub", Stub)
    return importlib.import_module("cpu")


def test_refusals_are_counted_and_what_is_answered_is_timed(page: ModuleType) -> None:
    rows = {(row.case, row.metric): row.value for row in page.path(None, "10 ms", ["kettle", "RESOURCE_EXHAUSTED"])}
    assert rows["depth/10 ms", "refused"] == 50
    assert rows["depth/10 ms", "median"] == 4
    assert rows["path/10 ms/client: final message", "p50"] > 0


def test_where_nothing_is_answered_that_is_all_there_is_to_say(page: ModuleType) -> None:
    rows = {(row.case, row.metric): row.value for row in page.path(None, "10 ms", ["DEADLINE_EXCEEDED"] * 2)}
    assert rows == {("depth/10 ms", "queries"): 2, ("depth/10 ms", "refused"): 100}


def test_other_failures_end_it(page: ModuleType) -> None:
    with pytest.raises(grpc.RpcError):
        list(page.path(None, "10 ms", ["INTERNAL"]))
