"""Distillation on a tiny network; where torch is not installed only what needs none."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Tiny, write_model
from safetensors.numpy import load_file
from train_kit import SETTINGS, SPECIAL, needs_torch, write_lists
from typer.testing import CliRunner

from millirank_engines.base import EngineError, Profile
from millirank_engines.build.lists import Packed
from millirank_engines.build.tensors import WORDS
from millirank_engines.build.train import Held, Tick, distil
from millirank_engines.model import ModelSpec, Template
from millirank_engines.pack import pack_pairs


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A tiny network gains nothing from threads, and loses much where others use the processor."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "encoder", Tiny())


@pytest.fixture
def work(tmp_path: Path, init: Path) -> Path:
    return write_lists(tmp_path / "work", init)


class Broken(Exception):
    """Ends a run early."""


def stop_at(step: int) -> Callable[[Tick], None]:
    def tell(tick: Tick) -> None:
        if tick.step == step:
            raise Broken

    return tell


@needs_torch
def test_it_learns_and_writes_a_folder_that_can_be_exported(work: Path, init: Path, tmp_path: Path) -> None:
    ticks: list[Tick] = []
    held = distil(work, init, tmp_path / "out", replace(SETTINGS, epochs=12), device="cpu", tell=ticks.append)
    assert [tick.step for tick in ticks] == list(range(1, ticks[0].steps + 1))
    assert held == [tick.held for tick in ticks if tick.held]
    assert np.mean([t.loss for t in ticks[-20:]]) < np.mean([t.loss for t in ticks[:9]])
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    original = load_file(init / "model.safetensors")
    assert "bert.embeddings.word_embeddings.weight" not in tensors
    assert tensors["classifier.weight"].shape == (1, 32)
    assert {t.dtype for t in tensors.values()} == {np.dtype(np.float16)}
    assert {f"bert.{name}" for name in original} - tensors.keys() == {"bert.embeddings.word_embeddings.weight"}
    template = {"fields": ["title"], "product_tokens": 6, "query_tokens": 4}
    settings = json.loads((tmp_path / "out" / "millirank.json").read_text())
    assert settings == {"template": template, "word_embeddings": "tiny"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Human judgments of 1 queries" in card
    assert "2 queries were held out" in card
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_limit_that_was_not_trained_is_not_served() -> None:
    with pytest.raises(EngineError, match="set it to 24 or less"):
        replace(SETTINGS, product_tokens=(16, 24), served_tokens=32)


@needs_torch
def test_a_broken_run_goes_on_to_the_same_weights(work: Path, init: Path, tmp_path: Path) -> None:
    whole = distil(work, init, tmp_path / "whole", SETTINGS, device="cpu")
    with pytest.raises(Broken):
        distil(work, init, tmp_path / "out", SETTINGS, device="cpu", checkpoint_every=5, tell=stop_at(13))
    assert not (tmp_path / "out" / "training.json").exists()
    seen: list[int] = []
    held = distil(work, init, tmp_path / "out", SETTINGS, device="cpu", tell=lambda tick: seen.append(tick.step))
    assert seen[0] == 11
    assert held == whole
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1]


@needs_torch
def test_a_finished_model_is_left_and_another_run_refused(work: Path, init: Path, tmp_path: Path) -> None:
    short = replace(SETTINGS, epochs=1, judged_epochs=1, judged_repeats=1)
    held = distil(work, init, tmp_path / "out", short, device="cpu")
    again = distil(work, init, tmp_path / "out", short, device="cpu", tell=stop_at(1))
    assert again == held
    assert all(isinstance(h, Held) for h in again)
    with pytest.raises(EngineError, match="another --out"):
        distil(work, init, tmp_path / "out", SETTINGS, device="cpu")


@needs_torch
def test_pairs_are_packed_as_the_service_packs_them() -> None:
    import torch

    from millirank_engines.build.torchpack import pack

    rng = np.random.default_rng(0)
    queries = Packed.of([rng.integers(5, 99, n) for n in (1, 4, 0, 2)], 4, "uint16")
    products = Packed.of([rng.integers(5, 99, n) for n in (7, 0, 3, 9)], 9, "uint16")
    spec = ModelSpec("tiny", "rerank", "0", 1, 2, 32, 200, 64, cls_id=2, sep_id=3, pad_id=0, template=Template())
    expected = pack_pairs([queries[i] for i in range(4)], [products[i] for i in range(4)], Profile(4, 16), spec)
    (q, ql), (p, pl) = queries.padded(4), products.padded(9)
    got = pack(*(torch.from_numpy(array) for array in (q, ql, p, pl)), 16, SPECIAL)
    np.testing.assert_array_equal(got.ids.numpy(), expected["input_ids"])
    np.testing.assert_array_equal(got.mask.numpy(), expected["attention_mask"])
    np.testing.assert_array_equal(got.types.numpy(), expected["token_type_ids"])


@needs_torch
def test_the_network_is_berts(tmp_path: Path) -> None:
    import torch
    from transformers import BertForSequenceClassification

    from millirank_engines.build.crossencoder import Shape, load, logits
    from millirank_engines.build.torchpack import Pairs

    folder = write_model(tmp_path / "cross", Tiny(task="rerank"))
    reference = BertForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    config, weights = load(folder, "cpu")
    ids = torch.randint(5, 99, (3, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(11)[None, :] < torch.tensor([[11], [6], [9]])
    types = (torch.arange(11)[None, :] >= 4) & mask
    with torch.no_grad():
        ours = logits(weights, Shape.read(config), Pairs(ids, mask, types.long()))
        theirs = reference(input_ids=ids, attention_mask=mask.long(), token_type_ids=types.long()).logits[:, 0]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


@needs_torch
def test_a_start_of_its_own_embeddings_is_named(work: Path, init: Path, tmp_path: Path) -> None:
    distil(work, init, tmp_path / "out", replace(SETTINGS, epochs=1), device="cpu", words="shop/other")
    assert json.loads((tmp_path / "out" / "millirank.json").read_text())["word_embeddings"] == "shop/other"


@needs_torch
def test_an_mpnet_is_read_in_berts_form(tmp_path: Path) -> None:
    import torch
    from transformers import MPNetConfig, MPNetForSequenceClassification

    from millirank_engines.build import mpnet
    from millirank_engines.build.crossencoder import Shape, last_state, load, save
    from millirank_engines.build.torchpack import Pairs

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = MPNetConfig(vocab_size=140, num_labels=1, max_position_embeddings=202, initializer_range=0.5, **sizes)
    reference = MPNetForSequenceClassification(config).eval()
    reference.save_pretrained(tmp_path / "theirs")
    read, weights = load(tmp_path / "theirs", "cpu")
    length = 160  # farther apart than the last bucket begins
    ids = torch.randint(105, 130, (3, length), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, 50] = 101, 102
    lengths = torch.tensor([[length], [60], [90]])
    mask = torch.arange(length)[None, :] < lengths
    ids = torch.where(torch.arange(length) == lengths - 1, 102, torch.where(mask, ids, 0))
    own = torch.where(ids == 101, 0, torch.where(ids == 102, 2, torch.where(mask, ids + 4, 1)))
    with torch.no_grad():
        found = last_state(weights, Shape.read(read), Pairs(ids, mask, torch.zeros_like(ids)))
        wanted = reference.mpnet(input_ids=own, attention_mask=mask.long()).last_hidden_state
    np.testing.assert_allclose(found[mask].numpy(), wanted[mask].numpy(), atol=1e-4)
    mpnet.refuse_others(read, {"cls": 101, "sep": 102, "pad": 0})
    with pytest.raises(EngineError, match="name a BERT with the tokenizer of your encoder"):
        mpnet.refuse_others(read, SPECIAL)
    save(weights, read, tmp_path)
    (tmp_path / "millirank.json").write_text(json.dumps({"word_embeddings": str(tmp_path / "theirs")}))
    again, halves = load(tmp_path, "cpu")
    np.testing.assert_array_equal(halves[WORDS].numpy(), weights[WORDS].numpy())
    with torch.no_grad():
        same = last_state(halves, Shape.read(again), Pairs(ids, mask, torch.zeros_like(ids)))
    np.testing.assert_allclose(same[mask].numpy(), found[mask].numpy(), atol=0.05)  # kept in FP16


@needs_torch
def test_what_is_no_model_is_refused(work: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"config\.json and model\.safetensors"):
        distil(work, tmp_path / "none", tmp_path / "out", SETTINGS, device="cpu")


def run(*arguments: Any) -> str:
    import typer

    from millirank.commands.train import train

    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return f"{result.exception}"


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_command_names_the_extra(tmp_path: Path) -> None:
    assert "pip install 'millirank[train]'" in run("--out", tmp_path / "out")


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    assert "--out FOLDER" in run()
    assert "--work FOLDER" in run("--mine-only")
    assert "add --index" in run("--mine-only", "--work", tmp_path, "--hold-out", tmp_path / "queries.csv")
