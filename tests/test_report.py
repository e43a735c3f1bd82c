"""Results that are stored and compared again, and the page of what got worse."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millirank.cli import app
from millirank.commands.evaluate import compared
from millirank.commands.figures import rows_of, spellings
from millirank.errors import ConfigError
from millirank.evaluation import Segment, read_judgments, read_segments, write_segments
from millirank.evaluation.report import WORST, Side, page
from millirank.evaluation.result import Result, read_result, result_of

SEGMENTS = {
    "type": Segment({"lamp": {"a": 3, "b": 0}, "desk": {"c": 3}}),
    "type-misspelled": Segment({"lapm": {"a": 3, "b": 0}}, {"lapm": "lamp"}),
    "no-answer": Segment({"kayak": {}, "wok": {}}),
}
RUNS = {
    "bm25": {"lamp": ["a", "b"], "desk": ["c"], "lapm": [], "kayak": [], "wok": ["a"]},
    "fused": {"lamp": ["b", "a"], "desk": ["x", "c"], "lapm": ["b", "a"], "kayak": ["a"], "wok": ["a"]},
}
TITLES = {"a": "Lamp <b>bold</b>", "b": "Lampshade & co", "c": "Desk", "x": '"Chair"'}


class Tags(HTMLParser):
    """The texts of a page, and its tags, which must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def result() -> Result:
    return result_of("shop", RUNS, SEGMENTS, TITLES)


def test_a_result_scores_segments_and_counts_answers_where_none_is_good(result: Result) -> None:
    assert set(result.scores["bm25"]) == {"type", "type-misspelled"}
    assert result.scores["bm25"]["type"].mean("success@1") == 1
    assert result.scores["fused"]["type"].mean("success@1") == 0
    assert result.answered == {"bm25": {"no-answer": 0.5}, "fused": {"no-answer": 1.0}}


def test_rows_tell_what_misspelling_costs(result: Result) -> None:
    assert spellings(SEGMENTS) == {"type-misspelled": "type"}
    rows = {(row.case, row.metric): row.value for row in rows_of(result, SEGMENTS)}
    assert rows["type/bm25", "ndcg@10"] == 1
    assert rows["type-misspelled less type/bm25", "difference"] == -1
    assert rows["type-misspelled less type/bm25", "lost"] == 100
    assert rows["type-misspelled less type/fused", "lost"] == 0
    assert rows["no-answer/bm25", "answered"] == 0.5
    assert rows["no-answer/bm25", "queries"] == 2


def test_what_is_lost_is_of_the_same_queries_as_the_difference() -> None:
    segments = {
        **SEGMENTS,
        "type-misspelled": Segment({"lapm": {"a": 3}, "sfoa": {"a": 3}}, {"lapm": "lamp", "sfoa": "sofa"}),
    }
    runs = {"bm25": {**RUNS["bm25"], "lapm": ["x", "a"], "sfoa": ["a"]}}  # nobody judged sofa
    rows = {(row.case, row.metric): row.value for row in rows_of(result_of("s", runs, segments, TITLES), segments)}
    case = "type-misspelled less type/bm25"
    assert rows[case, "lost"] == pytest.approx(-100 * rows[case, "difference"])  # lamp itself has 1
    assert rows[case, "losses"] == 1


@pytest.mark.parametrize(
    "segments",
    [
        {"type": Segment({"lamp": {"a": 3}}), "wrong": Segment({"lapm": {"a": 0}}, {"lapm": "lamp"})},
        {"type": Segment({"lamp": {"a": 0}}), "wrong": Segment({"lapm": {"a": 3}}, {"lapm": "lamp"})},
        {
            "type": Segment({"lamp": {"a": 0}, "desk": {"c": 3}}),
            "wrong": Segment({"lapm": {"a": 3}}, {"lapm": "lamp"}),
        },
    ],
)
def test_spellings_without_a_pair_are_left_out(segments: dict[str, Segment]) -> None:
    rows = [*rows_of(result_of("s", RUNS, segments, TITLES), segments)]
    assert {row.metric for row in rows} >= {"ndcg@10", "queries"}
    assert not [row for row in rows if "less" in row.case]


def test_a_result_of_other_judgments_is_refused_before_anything_is_scored(tmp_path: Path, result: Result) -> None:
    file, before = tmp_path / "judged.csv", tmp_path / "before.json"
    before.write_text(json.dumps(result.plain()), "utf-8")
    write_segments(file, {**SEGMENTS, "type": Segment({"lamp": {"a": 3, "b": 1}, "desk": {"c": 3}})})
    options = ["--index", "none", "--judgments", str(file), "--depth", "0", "--against", str(before)]
    done = CliRunner().invoke(app, ["eval", *options])
    assert isinstance(done.exception, ConfigError)
    assert "scored by other judgments of type: make it again" in str(done.exception)


def test_a_result_comes_back_from_its_file(tmp_path: Path, result: Result) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result.plain()), "utf-8")
    again = read_result(tmp_path / "result.json")
    assert again.plain() == result.plain()
    assert compared(Side(again, "fused"), Side(result, "fused"), "ndcg@10")["type"].difference == 0
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"other\.json is no result of an evaluation .*--out"):
        read_result(tmp_path / "other.json")


def test_the_page_shows_the_worst_first_and_both_orders_with_grades(result: Result) -> None:
    first, second = Side(result, "fused"), Side(result, "bm25")
    found = compared(first, second, "ndcg@10")
    text = page(first, second, found, SEGMENTS, "ndcg@10")
    tags = Tags(text)
    assert not tags.open
    told = " ".join("".join(tags.texts).split())
    assert "Worse: 2 queries" in told
    worst = sorted(found["type"].losses, key=lambda pair: pair[1])
    assert told.index(f"{worst[0][0]} {worst[0][1]:+.3f}") < told.index(f"{worst[1][0]} {worst[1][1]:+.3f}")
    assert "unjudged" in told
    assert '"Chair" x' in told
    assert "lapm -" not in told  # it got better


def test_the_page_escapes_what_shops_and_shoppers_write() -> None:
    evil = "<script>alert('q')</script>"
    segments = {"<s>": Segment({evil: {"a": 3}}, {evil: "<i>meant</i>"})}
    runs = {"old": {evil: ["a"]}, "new": {evil: ["<id>", "a"]}}
    result = result_of("<shop>", runs, segments, {"a": "<img src=x onerror=y>", "<id>": "</section>"})
    first, second = Side(result, "new"), Side(result, "old")
    tags = Tags(page(first, second, compared(first, second, "mrr"), segments, "mrr"))
    assert not tags.open
    assert tags.seen.isdisjoint({"script", "s", "i", "img", "id", "shop"})
    assert tags.attributes <= {"lang", "charset", "class"}
    assert evil in "".join(tags.texts)


def test_the_page_ends_at_so_many_queries() -> None:
    segments = {"all": Segment({f"q{number}": {"a": 1} for number in range(WORST + 5)})}
    queries = segments["all"].judgments
    runs = {"old": dict.fromkeys(queries, ("a",)), "new": dict.fromkeys(queries, ("b",))}
    result = result_of("s", runs, segments, {})
    first, second = Side(result, "new"), Side(result, "old")
    text = page(first, second, compared(first, second, "mrr"), segments, "mrr")
    assert f"Worse: {WORST + 5} queries, of which the first {WORST} are shown" in text
    assert text.count("<section>") == WORST


def test_eval_scores_compares_with_an_earlier_result_and_reports(tmp_path: Path, tiny_index: Path) -> None:
    file, before, out, report = (tmp_path / name for name in ("judged.csv", "before.json", "out.json", "report.html"))
    run = CliRunner()
    made = run.invoke(app, ["segments", "--index", str(tiny_index), "--out", str(file), "--count", "4"])
    assert made.exit_code == 0, made.output
    segments = read_segments(file)
    nothing = {"reranked": dict.fromkeys(read_judgments(file), ())}
    before.write_text(json.dumps(result_of("before", nothing, segments, {}).plain()), "utf-8")
    files = ["--against", str(before), "--out", str(out), "--report", str(report)]
    asked = ["eval", "--index", str(tiny_index), "--judgments", str(file), "--depth", "3", "--measure", "recall@100"]
    done = run.invoke(app, [*asked, *files])
    assert done.exit_code == 0, done.output
    assert "brand: index, reranked against before, reranked, recall@100: +" in done.output
    result = read_result(out)
    assert set(result.scores) == {"bm25", "dense", "fused", "reranked"}
    assert result.scores["bm25"]["title-less-two"].mean("success@1") == 1
    assert set(result.runs["bm25"]) == set(read_judgments(file))
    assert {"machine", "commit", "date", "command", "rows"} <= set(json.loads(out.read_text("utf-8")))
    assert not Tags(report.read_text("utf-8")).open


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        (["--order", "best"], "choose one of bm25, dense, fused, reranked"),
        (["--against", "gone"], "a folder of engines"),
        (["--measure", "err"], "choose one of ndcg@10"),
        (["--report", "gone/page.html"], "mkdir -p gone"),
        (["--report", "."], "name a file in it"),
        (["--out", "."], "name a file in it"),
        (["--depth", "0", "--order", "reranked"], "choose one of bm25, dense, fused"),
    ],
)
def test_what_eval_cannot_do_is_refused_with_the_fix(tmp_path: Path, options: list[str], fix: str) -> None:
    file = tmp_path / "judged.csv"
    file.write_text("query,docid,rating\nlamp,1,3\n", "utf-8")
    done = CliRunner().invoke(app, ["eval", "--index", "none", "--judgments", str(file), *options])
    assert isinstance(done.exception, ConfigError)
    assert fix in str(done.exception)
