"""Students of fewer layers, cross-encoders and sentence encoders as teachers, and engines made of what they learned."""

import importlib.util
import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from models import Tiny, edit_json, write_model
from numpy.typing import NDArray
from rich.console import Console
from safetensors.numpy import load_file, save_file
from train_kit import SETTINGS, needs_torch, write_lists

from millirank.commands.trained import train_rounds
from millirank_engines import open_engine
from millirank_engines.base import EngineError, Profile
from millirank_engines.build import train
from millirank_engines.build.compile import build_engine
from millirank_engines.build.crossencoder import kept_layers
from millirank_engines.build.lists import TEACHER, Lists
from millirank_engines.build.teach import scored
from millirank_engines.build.train import Teacher, distil
from millirank_engines.build.trainer import Trainer
from millirank_engines.pack import pack_pairs, pack_sequences

if TYPE_CHECKING:
    import torch

SHORT = replace(SETTINGS, epochs=1, judged_epochs=1, judged_repeats=1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A tiny network gains nothing from threads, and loses much where others use the processor."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_model(tmp_path / "teacher", Tiny(task="rerank", layers=4))


@pytest.fixture
def work(tmp_path: Path, teacher: Path) -> Path:
    return write_lists(tmp_path / "work", teacher)


def test_layers_are_evenly_spaced_and_the_last_is_kept() -> None:
    assert kept_layers(6, 3) == [1, 3, 5]
    assert kept_layers(6, 2) == [2, 5]
    assert kept_layers(12, 6) == [1, 3, 5, 7, 9, 11]
    assert kept_layers(6, 6) == list(range(6))
    assert kept_layers(6, 1) == [5]


@needs_torch
def test_a_student_of_fewer_layers_starts_from_its_teachers(work: Path, teacher: Path, tmp_path: Path) -> None:
    still = replace(SHORT, layers=2, lr=0.0, judged_lr=0.0)
    distil(work, teacher, tmp_path / "out", still, device="cpu")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 2
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", teacher))
    for mine, its in ((0, 1), (1, 3)):
        name = "bert.encoder.layer.{}.attention.self.query.weight"
        np.testing.assert_allclose(ours[name.format(mine)], theirs[name.format(its)], atol=1e-3)  # FP16
    assert not [name for name in ours if "layer.2." in name]
    np.testing.assert_allclose(ours["classifier.weight"], theirs["classifier.weight"], atol=1e-3)
    with pytest.raises(EngineError, match="take at most 4"):
        distil(work, teacher, tmp_path / "deep", replace(SHORT, layers=5), device="cpu")


@needs_torch
def test_a_shallow_student_becomes_an_engine_of_the_same_scores(work: Path, teacher: Path, tmp_path: Path) -> None:
    import torch

    from millirank_engines.build.crossencoder import Shape, load, logits
    from millirank_engines.build.torchpack import Pairs

    manifest = json.loads((work / "manifest.json").read_text())
    (work / "manifest.json").write_text(json.dumps({**manifest, "word_embeddings": str(teacher)}))
    distil(work, teacher, tmp_path / "out", replace(SHORT, layers=2), device="cpu")
    build_engine(str(tmp_path / "out"), tmp_path / "engine", task="rerank", profiles=[Profile(2, 16)])
    loaded = open_engine(tmp_path / "engine")
    assert loaded.spec.layers == 2
    rng = np.random.default_rng(2)
    queries, products = ([rng.integers(5, 40, n) for n in sizes] for sizes in ((1, 3), (6, 2)))
    feeds = pack_pairs(queries, products, Profile(2, 16), loaded.spec)
    ours = loaded.engine.infer(feeds)["score"]
    loaded.engine.close()
    config, weights = load(tmp_path / "out", "cpu")
    ids, mask, types = (
        torch.from_numpy(feeds[name].astype(np.int64)) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    with torch.no_grad():
        theirs = logits(weights, Shape.read(config), Pairs(ids, mask.bool(), types)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 if loaded.manifest.precision == "fp32" else 2e-2)


@needs_torch
def test_a_cross_encoder_joins_the_mined_scores(work: Path, teacher: Path) -> None:
    lists = Lists.open(work)
    mined = lists.kind == TEACHER
    alone = train.taught(lists, work, [Teacher(teacher, 2.0)], "cpu", mined_weight=0)
    np.testing.assert_allclose(alone.targets[mined].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(alone.targets[mined].std(1), 2, atol=1e-4)
    np.testing.assert_array_equal(alone.targets[~mined], lists.targets[~mined])
    both = train.taught(lists, work, [Teacher(teacher, 2.0)], "cpu")
    np.testing.assert_allclose(both.targets, lists.targets + np.where(mined[:, None], alone.targets, 0), atol=1e-5)
    assert len(list(work.glob("teacher-*.npy"))) == 1  # scored once
    with pytest.raises(EngineError, match="add --teacher"):
        train.taught(lists, work, [], "cpu", mined_weight=0)


@needs_torch
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_sentence_encoder_joins_by_its_cosines(work: Path, tmp_path: Path, pooling: str) -> None:
    folder = write_model(tmp_path / "encoder", Tiny(pooling=pooling))
    build_engine(str(folder), tmp_path / "engine", task="embed", precision="fp32", profiles=[Profile(1, 16)])
    lists, loaded = Lists.open(work), open_engine(tmp_path / "engine")
    mined = np.flatnonzero(lists.kind == TEACHER)

    def vector(ids: NDArray[np.generic]) -> NDArray[np.float32]:
        feeds = pack_sequences([ids], Profile(1, 16), loaded.spec)
        return loaded.engine.infer(feeds)["embedding"][0]

    cosines = [
        [float(vector(lists.queries[lists.query[n]]) @ vector(lists.products[row])) for row in lists.rows[n]]
        for n in mined[:5]
    ]
    loaded.engine.close()
    found = scored(lists, mined[:5], folder, "cpu")
    np.testing.assert_allclose(found, cosines, atol=1e-4)
    taught = train.taught(lists, work, [Teacher(folder, 2.0)], "cpu", mined_weight=0)
    np.testing.assert_allclose(taught.targets[mined].std(1), 2, atol=1e-3)
    before = Teacher(folder).key
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)
    assert Teacher(folder).key != before


@needs_torch
def test_an_mpnet_is_trained_and_teaches_a_bert(work: Path, teacher: Path, tmp_path: Path) -> None:
    from transformers import MPNetConfig, MPNetModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    MPNetModel(MPNetConfig(vocab_size=140, **sizes)).save_pretrained(tmp_path / "mpnet")
    init = str(tmp_path / "mpnet")
    with pytest.raises(EngineError, match="name a BERT with the tokenizer of your encoder"):
        train_rounds(work, tmp_path / "other", init, SHORT, [], 1, "cpu", Console(quiet=True))
    manifest = json.loads((work / "manifest.json").read_text())
    special = {"cls": 101, "sep": 102, "pad": 0}
    (work / "manifest.json").write_text(json.dumps({**manifest, "special": special, "word_embeddings": str(teacher)}))
    said = Console(file=StringIO(), width=200)
    train_rounds(work, tmp_path / "large", init, SHORT, [], 1, "cpu", said)
    assert f"train a BERT by it with `--teacher {tmp_path / 'large'} --mined-weight 0`" in said.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads((tmp_path / "large" / "millirank.json").read_text())["word_embeddings"] == init
    lists = Lists.open(work)
    mined = lists.kind == TEACHER
    found = train.taught(lists, work, [Teacher(tmp_path / "large")], "cpu", mined_weight=0)
    np.testing.assert_allclose(found.targets[mined].std(1), 1, atol=1e-3)


@needs_torch
def test_several_teachers_are_added_and_each_is_scored_once(work: Path, teacher: Path, tmp_path: Path) -> None:
    lists = Lists.open(work)
    named = [(teacher, 0.5), (write_model(tmp_path / "other", Tiny(task="rerank", layers=1)), 1.5)]
    alone = [train.taught(lists, work, [Teacher(*one)], "cpu", mined_weight=0).targets for one in named]
    mined = lists.kind == TEACHER
    assert np.abs(alone[0][mined] - alone[1][mined] / 3).max() > 1e-3  # they say different things
    both = train.taught(lists, work, [Teacher(*one) for one in named], "cpu", mined_weight=0)
    np.testing.assert_allclose(both.targets[mined], alone[0][mined] + alone[1][mined], atol=1e-5)
    assert len(list(work.glob("teacher-*.npy"))) == len(named)


@needs_torch
def test_a_teacher_of_another_template_scores_anew(work: Path, teacher: Path) -> None:
    lists = Lists.open(work)
    whole = train.taught(lists, work, [Teacher(teacher)], "cpu", mined_weight=0)
    (teacher / "millirank.json").write_text(json.dumps({"template": {"product_tokens": 1}}), encoding="utf-8")
    cut = train.taught(lists, work, [Teacher(teacher)], "cpu", mined_weight=0)
    assert np.abs(cut.targets - whole.targets).max() > 1e-3
    config = json.loads((teacher / "config.json").read_text())
    before = Teacher(teacher).key
    (teacher / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}), encoding="utf-8")
    assert Teacher(teacher).key != before


@needs_torch
def test_a_student_learns_its_teachers_order(work: Path, teacher: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=20, mined_weight=0.0, dropout=False, layers=2, judged_epochs=0)
    teachers = [Teacher(teacher, 3.0)]
    losses: list[float] = []
    distil(
        work,
        teacher,
        tmp_path / "out",
        settings,
        teachers=teachers,
        device="cpu",
        tell=lambda tick: losses.append(tick.loss),
    )
    assert np.mean(losses[-9:]) < 0.7 * np.mean(losses[:9])
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["teachers"][0]["name"] == "teacher"
    assert "teacher" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(EngineError, match="other inputs"):
        distil(work, teacher, tmp_path / "out", settings, teachers=[Teacher(teacher)], device="cpu")


@needs_torch
def test_the_student_of_a_round_teaches_the_next(work: Path, teacher: Path, tmp_path: Path) -> None:
    manifest = json.loads((work / "manifest.json").read_text())
    (work / "manifest.json").write_text(json.dumps({**manifest, "word_embeddings": str(teacher)}))
    console = Console(file=StringIO())
    for _ in range(2):  # the second time finds all done
        train_rounds(work, tmp_path / "out", None, replace(SHORT, layers=2), [], 2, "cpu", console)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert [t["name"] for t in record["teachers"]] == ["round1"]
    assert record["layers"] == 2
    assert json.loads((work / "round1" / "training.json").read_text())["teachers"] == []
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert told.count("nothing changed, so the model in") == 2


@needs_torch
def test_a_teacher_that_cannot_teach_is_refused(work: Path, teacher: Path, tmp_path: Path) -> None:
    lists = Lists.open(work)
    with pytest.raises(EngineError, match="holds no teacher"):
        train.taught(lists, work, [Teacher(tmp_path / "none")], "cpu")
    classes = shutil.copytree(teacher, tmp_path / "classes")
    tensors = load_file(classes / "model.safetensors")
    save_file(
        {n: np.concatenate([w, w]) if "classifier" in n else w for n, w in tensors.items()},
        classes / "model.safetensors",
    )
    with pytest.raises(EngineError, match="several classes, no cross-encoder"):
        train.taught(lists, work, [Teacher(classes)], "cpu")
    config = json.loads((teacher / "config.json").read_text())
    shutil.copytree(teacher, tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "vocab_size": 6}))
    with pytest.raises(EngineError, match="share the student's tokenizer"):
        train.taught(lists, work, [Teacher(tmp_path / "other")], "cpu")


@needs_torch
def test_memory_that_ends_names_what_to_lower(
    work: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(train, "Trainer", full)
    with pytest.raises(EngineError, match="fewer than 4 lists a step with --lists"):
        distil(work, teacher, tmp_path / "out", SHORT, device="cpu")


@needs_torch
def test_a_student_comes_nearer_to_the_states_that_it_matches(work: Path, teacher: Path, tmp_path: Path) -> None:
    lists = Lists.open(work)
    apart = {}
    for hidden in (0.0, 5.0):
        settings = replace(SETTINGS, layers=2, hidden=hidden, dropout=False, epochs=4, judged_epochs=0, lr=1e-3)
        trainer = Trainer(lists, teacher, settings, "cpu")
        trainer.run(tmp_path / f"{hidden}.pt", "key", 1000, lambda _: None)
        measured = replace(settings, hidden=1.0)
        trainer.settings = measured
        _, distance = trainer._scores(trainer.mined[:8], lists.rows[trainer.mined[:8]], 6, train=True)
        apart[hidden] = float(distance.detach())
    assert apart[5.0] < 0.8 * apart[0.0]
    with pytest.raises(EngineError, match="fewer --layers"):
        replace(SETTINGS, hidden=1.0)


@needs_torch
def test_the_mixture_is_chosen_when_training(work: Path, teacher: Path, tmp_path: Path) -> None:
    settings = replace(SHORT, mix=(("dense", 1.0), ("rule", 0.25)))
    distil(work, teacher, tmp_path / "out", settings, device="cpu")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Teacher: 1 z(dense) + 0.25 z(rule), over" in card
    with pytest.raises(EngineError, match="mix dense, rule"):
        distil(work, teacher, tmp_path / "no", replace(SHORT, mix=(("bm25", 1.0),)), device="cpu")


@needs_torch
def test_judgments_alone_are_learned_without_an_epoch_of_mined_lists(work: Path, teacher: Path, tmp_path: Path) -> None:
    ticks: list[train.Tick] = []
    settings = replace(SETTINGS, epochs=0, judged_epochs=6, judged_lr=3e-3, judged_repeats=2, dropout=False)
    distil(work, teacher, tmp_path / "out", settings, device="cpu", tell=ticks.append)
    assert ticks[-1].steps == 6 * 4  # four judged lists twice, and as many mined ones, four a step
    assert np.mean([tick.loss for tick in ticks[-8:]]) < np.mean([tick.loss for tick in ticks[:8]])


def torch_sgd(trainer: Trainer) -> "torch.optim.Optimizer":
    import torch

    for name, weight in trainer.weights.items():
        weight.requires_grad_(not name.startswith("embeddings.word"))
    return torch.optim.SGD([w for w in trainer.weights.values() if w.requires_grad], lr=0.0)


@needs_torch
def test_what_is_there_is_learned_before_what_is_not(work: Path, teacher: Path) -> None:
    lists = Lists.open(work)
    trainer = Trainer(lists, teacher, replace(SETTINGS, candidates=5), "cpu")
    seen: list[int] = []
    scores = trainer._scores

    def counted(chosen: object, rows: np.ndarray, limit: int, *, train: bool) -> object:
        seen.append(int((rows >= 0).sum()))
        return scores(chosen, rows, limit, train=train)  # type: ignore[arg-type]

    trainer._scores = counted  # type: ignore[method-assign, assignment]
    optimizer = torch_sgd(trainer)
    trainer._learn(trainer.judged, 0, optimizer, list(trainer.weights.values()))
    assert seen == [5 * len(trainer.judged)]  # each judged list has five products and three empty places
