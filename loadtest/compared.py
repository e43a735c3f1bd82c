"""The phases of sla_cpu.py that compare: the order at the depth that fits with others, a prediction with the curve."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
from phases import Bench, warm
from report import BENCHMARKS

from millirank.config import Settings
from millirank.evaluation import Judgments, read_judgments, score
from millirank.loadtest.results import Row
from millirank.rehearsal import Rehearsed, rehearse
from millirank.simulation import Device, Scenario
from millirank.simulation.compare import compare
from millirank.stack import Stack
from millirank.v1 import search_pb2, search_pb2_grpc

MEASURES = ("ndcg@10", "ndcg@10 judged")
DEVICE = "cpu-2"  # what the measured table leaves open


def relevance(bench: Bench) -> Iterator[Row]:
    """nDCG@10 of the judged queries over gRPC, one at a time: fused, as deep as fits, and at full depth."""
    judged = {query: grades for query, grades in read_judgments(bench.file).items() if any(grades.values())}
    for name, options in (("as deep as fits", ()), ("depth 50, no limit", ("--sla-ms", "0"))):
        with bench.server(*options) as server:
            warm(bench, server)
            with grpc.insecure_channel(server.target.address) as channel:
                stub = search_pb2_grpc.SearchServiceStub(channel)
                answers = {query: list(stub.Search(search_pb2.SearchRequest(query=query))) for query in judged}
        if not options:
            yield from _scored("fused", [first for first, _ in answers.values()], judged)
        finals = [final for _, final in answers.values()]
        yield from _scored(name, finals, judged)
        yield Row(f"relevance/{name}", "depth mean", sum(a.rerank_depth for a in finals) / len(finals), "candidates")


def prediction(bench: Bench) -> Iterator[Row]:
    """What `millirank plan`'s simulation says to the loads of the curve, from costs measured here."""
    stack = Stack(Settings(index=bench.index))
    try:
        shown = asyncio.run(rehearse(stack.pipeline))
        tables = {"encode": stack.core.encode_costs.seconds, "rerank": stack.core.rerank_costs.seconds}
    finally:
        stack.close()
    plain = {name: {str(profile): cost for profile, cost in table.items()} for name, table in tables.items()}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "costs.json"
        table.write_text(json.dumps({"device": DEVICE, **plain}), encoding="utf-8")
        device = Device.named(DEVICE).measured(table)
        curve = [row for row in json.loads((BENCHMARKS / "sla-cpu.json").read_text())["rows"] if _is_load(row["case"])]
        report = Path(folder) / "curve.json"
        report.write_text(json.dumps({"rows": curve}), encoding="utf-8")
        scenario = Scenario(_rehearsed(device, shown), reply=max(Scenario.reply, shown.outside))
        for pair in compare(report, scenario):
            case = f"prediction/{pair.case.partition('/')[2]}"
            yield Row(case, f"{pair.metric} measured", pair.measured, pair.unit)
            yield Row(case, f"{pair.metric} predicted", pair.predicted, pair.unit)


def _is_load(case: str) -> bool:
    return case.startswith("curve/") and case.endswith(" QPS")


def _rehearsed(device: Device, shown: Rehearsed) -> Device:
    """The device with the rehearsal's figures of the work around its engines."""
    around = device.around
    retrieve = max(0.0, shown.own - around.accept - 2 * around.hop)
    return replace(device, around=replace(around, retrieve=retrieve, wire=max(0.0, shown.outside - around.reply)))


def _scored(name: str, answers: Sequence[search_pb2.SearchResponse], judged: Judgments) -> Iterator[Row]:
    run = {query: [hit.id for hit in answer.hits] for query, answer in zip(judged, answers, strict=True)}
    found = score(run, judged)
    for measure in MEASURES:
        low, high = found.interval(measure)
        for metric, value in ((measure, found.mean(measure)), (f"{measure} low", low), (f"{measure} high", high)):
            yield Row(f"relevance/{name}", metric, value, "")
