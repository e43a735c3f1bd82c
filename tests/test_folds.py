"""What people said reaches a model only as far as it may: folds, parts left out, clicks beside judgments."""

from pathlib import Path

import pytest
from test_mining import MODELS, RECIPE, TITLES, source

from millirank.commands.mined import Learned, learned
from millirank.commands.train import _runs
from millirank.errors import CatalogError, ConfigError
from millirank.evaluation import part_of
from millirank.mining import mine, normal
from millirank_engines.build.lists import JUDGED

GRADES = {f"{title.split(' ', 1)[1]}": {"shop0": 3, "shop1": 0} for title in TITLES[::3]}


def test_no_judged_query_of_a_fold_is_in_its_training(tmp_path: Path) -> None:
    runs = _runs(Learned(["kettle"], GRADES), 3, tmp_path, tmp_path / "out")
    assert [(work.name, out and out.name) for _, work, out in runs] == [(f"fold{i}", f"fold{i}") for i in range(3)]
    seen = []
    for number, (told, work, _) in enumerate(runs):
        lists, _ = mine([source()], MODELS, work, recipe=RECIPE, hold_out=told.held_out, judgments=told.grades)
        unseen = {query for query in GRADES if part_of(query, 3) == number}
        assert unseen
        judged = set(lists.manifest["judged_queries"])
        assert judged == GRADES.keys() - unseen
        assert (lists.kind == JUDGED).sum() == len(judged)
        assert {normal(query) for query in unseen} | {"kettle"} <= set(lists.manifest["held_out"])
        seen.append(unseen)
    assert set().union(*seen) == GRADES.keys()
    assert sum(map(len, seen)) == len(GRADES)


def test_one_part_is_learned_and_the_others_are_no_pseudo_queries() -> None:
    told = Learned((), GRADES).only(1, 3)
    assert {part_of(query, 3) for query in told.grades} == {1}
    assert set(told.held_out) == GRADES.keys() - told.grades.keys()
    with pytest.raises(CatalogError, match="take more parts"):
        Learned((), GRADES).leaving(0, 1)


def test_judgments_win_over_clicks(tmp_path: Path) -> None:
    (tmp_path / "judgments.csv").write_text("query,docid,rating\nkettle,a,1\n", encoding="utf-8")
    (tmp_path / "clicks.csv").write_text("query,id,click\nkettle,a,9\nkettle,b,9\nlamp,c,2\n", encoding="utf-8")
    (tmp_path / "held.csv").write_text("query,id\nchair,1\n", encoding="utf-8")
    told = learned([tmp_path / "held.csv"], tmp_path / "judgments.csv", tmp_path / "clicks.csv")
    assert told == Learned(["chair"], {"kettle": {"a": 1, "b": 3}, "lamp": {"c": 3}})


def test_what_is_held_out_is_not_learned_from_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "judgments.csv").write_text("query,docid,rating\nkettle,a,1\nlamp,b,2\n", encoding="utf-8")
    (tmp_path / "clicks.csv").write_text("query,id,click\nKettles,b,9\nlamp,c,2\n", encoding="utf-8")
    (tmp_path / "held.csv").write_text("query,id\nKettle,1\n", encoding="utf-8")
    told = learned([tmp_path / "held.csv"], tmp_path / "judgments.csv", tmp_path / "clicks.csv")
    assert told == Learned(["Kettle"], {"lamp": {"b": 2, "c": 3}})
    with pytest.raises(CatalogError, match=r"every query .* hold out fewer"):
        learned([tmp_path / "judgments.csv"], tmp_path / "judgments.csv", None)


def test_the_folds_of_mining_alone_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from millirank.commands import train as command

    (tmp_path / "judgments.csv").write_text(
        "query,docid,rating\n" + "".join(f"{query},a,1\n" for query in GRADES), encoding="utf-8"
    )
    monkeypatch.setattr(command, "mine_indexes", lambda *_: None)
    command.train(index=[tmp_path], out=tmp_path / "out", judgments=tmp_path / "judgments.csv", folds=3, mine_only=True)
    told = (tmp_path / "out" / "folds.csv").read_text(encoding="utf-8").splitlines()
    assert set(told[1:]) == {f"{query},{part_of(query, 3)}" for query in GRADES}


def test_folds_that_were_mined_elsewhere_are_trained_without_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank.commands import train as command

    for number in range(3):
        told = Learned((), GRADES).fold(number, 3)
        where = tmp_path / "work" / f"fold{number}"
        mine([source()], MODELS, where, recipe=RECIPE, hold_out=told.held_out, judgments=told.grades)
    trained: list[tuple[Path, Path]] = []
    monkeypatch.setattr(command, "find_spec", lambda _: True)
    monkeypatch.setattr(command, "train_rounds", lambda work, out, *_: trained.append((work, out)))
    command.train(work=tmp_path / "work", out=tmp_path / "out", folds=3, size="full", epochs=0)
    assert [(work.name, out.name) for work, out in trained] == [(f"fold{i}", f"fold{i}") for i in range(3)]
    told_folds = (tmp_path / "out" / "folds.csv").read_text(encoding="utf-8").splitlines()
    assert set(told_folds[1:]) == {f"{query},{part_of(query, 3)}" for query in GRADES}


@pytest.mark.parametrize(
    ("text", "message"),
    [("dense", "--mix dense has no weight"), ("dense=x", "write dense=1,bm25=0.5,rule=1.5")],
)
def test_a_mixture_without_weights_is_refused(text: str, message: str) -> None:
    from millirank.commands.train import _mix

    assert _mix("dense=1,bm25=0.5") == (("dense", 1.0), ("bm25", 0.5))
    assert _mix(None) == ()
    with pytest.raises(ConfigError, match=message):
        _mix(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1, "index": True}, "--folds takes 2 or more"),
        ({"folds": 5, "leave_out": "0/5"}, "leaves --leave-out to itself"),
        ({"size": "huge", "index": True}, "choose one of full, small"),
        ({"kinds": "type,rhyme", "index": True}, "--kinds rhyme is none"),
        ({"leave_out": "5/5", "index": True}, "write I/N"),
        ({"leave_out": "\N{SUPERSCRIPT TWO}/3", "index": True}, "write I/N"),
        ({"product_tokens": "24;32", "index": True}, "such as 24,32"),
        ({"product_tokens": "0,32", "index": True}, "such as 24,32"),
    ],
)
def test_the_command_refuses_what_cannot_be(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    from millirank.commands.train import train

    index = [tmp_path / "index"] if arguments.pop("index", False) else None
    with pytest.raises(ConfigError, match=message):
        train(index=index, work=tmp_path / "work", mine_only=True, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("served", [0, 33])
def test_a_limit_that_is_not_trained_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: int
) -> None:
    from millirank.commands import train as command

    monkeypatch.setattr(command, "find_spec", lambda _: True)
    with pytest.raises(ConfigError, match="add --served-tokens 32"):
        command.train(out=tmp_path / "out", size="small", product_tokens="24,32", served_tokens=served)
