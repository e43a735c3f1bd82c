"""What other quantizers are measured with: their data, and their graphs run as they are written."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import Tiny, calm, write_model

from millirank_engines import Profile
from millirank_engines.build.export import export_model
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import CalibrationData, random_sequences, sequences_data
from millirank_engines.build.quantize.inference import run_batches
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.quantize.sensitivity import EXACT
from millirank_engines.openvino import OpenVinoEngine

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(calm(write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())))


@pytest.fixture(scope="module")
def data(source: str, tmp_path_factory: pytest.TempPathFactory) -> CalibrationData:
    spec = export_model(source, tmp_path_factory.mktemp("spec"), task="embed").spec
    return sequences_data(random_sequences(48, spec, 14), spec, "random tokens")


@pytest.fixture(scope="module")
def scales(source: str, data: CalibrationData, tmp_path_factory: pytest.TempPathFactory) -> Scales:
    return Calibrator(source, task="embed", data=data, work=tmp_path_factory.mktemp("work")).scales(Recipe())


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))


def test_a_graph_as_it_is_written_says_what_exact_products_say(
    source: str, data: CalibrationData, scales: Scales, tmp_path: Path
) -> None:
    peers = importlib.import_module("peers.as_written")
    shapes = tuple({Profile(*batch["input_ids"].shape) for batch in data.batches})
    scales = replace(scales, weight_bits=4)
    written = export_model(source, tmp_path / "int8", task="embed", scales=scales).folder / "model.onnx"
    exact = export_model(source, tmp_path / "exact", task="embed", form=EXACT, scales=scales).folder / "model.onnx"
    float_ = export_model(source, tmp_path / "float", task="embed").folder / "model.onnx"
    engines = [peers.AsWritten(written, shapes), *(OpenVinoEngine(p, shapes, "fp32") for p in (exact, float_))]
    ours, other, reference = (run_batches(engine, data.batches, "embedding") for engine in engines)
    for engine in engines:
        engine.close()
    assert np.einsum("ij,ij->i", ours, other).min() > 0.99999
    assert np.einsum("ij,ij->i", ours, reference).min() < 0.9997  # it did round


def test_another_environment_reads_the_batches_that_were_written(data: CalibrationData, tmp_path: Path) -> None:
    peers = importlib.import_module("peers.modelopt_ptq")
    peers.save_batches(tmp_path / "batches.npz", data.batches)
    again = peers.batches_of(tmp_path / "batches.npz")
    assert len(again) == len(data.batches)
    for one, other in zip(again, data.batches, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
