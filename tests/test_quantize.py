"""INT8 graphs, and what makes them: data, ranges, smoothing, and the layers that are spared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import Tiny, calm, write_model
from numpy.typing import NDArray
from onnx import numpy_helper

from millirank_engines import BackendUnavailable, EngineError, Profile
from millirank_engines.build.dense import Dense
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.graph import Form
from millirank_engines.build.quantize import ranges, sensitivity
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import (
    TOKENS,
    CalibrationData,
    distinct,
    distinct_pairs,
    pairs_data,
    random_sequences,
    sequences_data,
    split,
    split_pairs,
)
from millirank_engines.build.quantize.ranges import Histogram, amax, histograms
from millirank_engines.build.quantize.scales import Scales, group_of
from millirank_engines.build.quantize.sensitivity import Deviation, Deviations, deviation, spared
from millirank_engines.build.quantize.smoothing import Inputs, smoothed
from millirank_engines.build.tensorrt import FORM
from millirank_engines.openvino import OpenVinoEngine

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")
GROUPS = ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense")
LAYERS = 2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(calm(write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())))


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(calm(write_model(tmp_path_factory.mktemp("source") / "shop-reranker", Tiny(task="rerank"))))


@pytest.fixture(scope="module")
def exported(source: str, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_model(source, tmp_path_factory.mktemp("fp32"), task="embed")


@pytest.fixture(scope="module")
def data(exported: Export) -> CalibrationData:
    return sequences_data(random_sequences(96, exported.spec, 20), exported.spec, "random tokens")


@pytest.fixture(scope="module")
def calibrator(source: str, data: CalibrationData, tmp_path_factory: pytest.TempPathFactory) -> Calibrator:
    return Calibrator(source, task="embed", data=data, work=tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def scales(calibrator: Calibrator) -> Scales:
    return calibrator.scales(Recipe())


def embeddings(folder: Path, data: CalibrationData) -> np.ndarray:
    profiles = {Profile(*batch["input_ids"].shape) for batch in data.batches}
    engine = OpenVinoEngine(folder / "model.onnx", tuple(profiles), "fp32")
    made = np.concatenate([engine.infer(batch)["embedding"] for batch in data.batches])
    engine.close()
    return made


def weights_in(folder: Path) -> list[str]:
    return [tensor.name for tensor in onnx.load(folder / "model.onnx").graph.initializer if "weight" in tensor.name]


def nodes(folder: Path, kind: str) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == kind]


def widened(name: str, scales: Scales) -> bool:
    """Whether a weight is of a product whose sums TensorRT would not scale."""
    layer, inner, _ = name.partition("intermediate.dense")
    outer = f"{layer}output.dense"
    return bool(inner) and (outer not in scales.amax or outer in scales.smoothing or outer in scales.shift)


# The graph


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("form", [Form(), Form(half_norm=True, joined_qkv=True), FORM])
def test_linear_layers_are_products_between_q_and_dq(
    source: str, scales: Scales, tmp_path: Path, precision: str, form: Form
) -> None:
    export_model(source, tmp_path, task="embed", precision=precision, form=form, scales=scales)  # type: ignore[arg-type]
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    model = onnx.load(tmp_path / "model.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [name for name in values if name.endswith("weight/int8")]
    assert len(weights) == LAYERS * (4 if form.joined_qkv else 6)
    for name in weights:
        assert values[name].dtype == np.int8
        scale = values[name.removesuffix("/int8") + "/scale"]
        assert scale.shape == (values[name].shape[1],)
        assert scale.dtype == (np.float32 if precision == "fp32" or widened(name, scales) else np.float16)
    activations = nodes(tmp_path, "QuantizeLinear")
    assert len(activations) == LAYERS * len(GROUPS)  # query, key and value share one
    assert {values[node.input[1]].shape for node in activations} == {()}
    assert all(not values[node.input[2]].any() for node in activations)


def test_openvino_runs_it_in_int8_and_near_fp32(
    source: str, scales: Scales, exported: Export, data: CalibrationData, tmp_path: Path
) -> None:
    import openvino as ov

    export_model(source, tmp_path, task="embed", scales=scales)
    compiled = ov.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"
    ]
    assert kinds.count("i8") == LAYERS * 6
    cosine = np.einsum("ij,ij->i", embeddings(tmp_path, data), embeddings(exported.folder, data))
    assert np.quantile(cosine, 0.01) > 0.99


def test_onnx_runtimes_own_quantizer_places_the_same_steps(
    source: str, exported: Export, calibrator: Calibrator, data: CalibrationData, tmp_path: Path
) -> None:
    """Without smoothing, its graph of our ranges says what ours says."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    plain = calibrator.scales(Recipe(alpha=0, shift=False))
    ours = export_model(source, tmp_path / "ours", task="embed", scales=plain)
    model = onnx.load(exported.folder / "model.onnx")
    taps = ranges.tensors_of(exported.folder / "model.onnx")
    found = {taps[g]: TensorData(lowest=np.float32(-a), highest=np.float32(a)) for g, a in plain.amax.items()}
    names = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    products = [name for name in names if group_of(name.removesuffix("/matmul")) in plain.amax]
    options = {"ActivationSymmetric": True, "WeightSymmetric": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]}
    tensors = TensorsData(CalibrationMethod.MinMax, found)
    int8, per_channel, reduced = QuantType.QInt8, True, False
    quantizer = QDQQuantizer(model, per_channel, reduced, int8, int8, tensors, products, [], ["MatMul"], options)
    quantizer.quantize_model()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    quantizer.model.save_model_to_file(str(theirs / "model.onnx"))
    a, b = embeddings(ours.folder, data), embeddings(theirs, data)
    assert np.einsum("ij,ij->i", a, b).min() > 0.99


def test_smoothing_alone_changes_nothing(
    source: str, scales: Scales, exported: Export, data: CalibrationData, tmp_path: Path
) -> None:
    assert scales.smoothing
    dice = np.random.default_rng(0)
    shift = {group: dice.normal(0, 0.3, len(vector)).astype(np.float32) for group, vector in scales.smoothing.items()}
    for form in (Form(), Form(joined_qkv=True), Form(time_major=True)):
        even = Scales(smoothing=scales.smoothing, shift=shift)
        export_model(source, tmp_path, task="embed", form=form, scales=even)
        np.testing.assert_allclose(embeddings(tmp_path, data), embeddings(exported.folder, data), atol=2e-5)
        assert not nodes(tmp_path, "QuantizeLinear")


def test_the_bias_makes_up_for_the_mean_of_what_rounding_takes(
    source: str, scales: Scales, exported: Export, data: CalibrationData, tmp_path: Path
) -> None:
    coarse, reference = replace(scales, weight_bits=4), embeddings(exported.folder, data)
    errors = []
    for one in (coarse, replace(coarse, mean={})):
        made = export_model(source, tmp_path, task="embed", form=Form(rounded_weights=True), scales=one)
        errors.append(float(np.square(embeddings(made.folder, data) - reference).mean()))
    assert errors[0] < 0.8 * errors[1]


def test_rounded_weights_say_what_int8_says_in_exact_arithmetic(
    source: str, scales: Scales, data: CalibrationData, tmp_path: Path
) -> None:
    """ONNX's own evaluator runs the graph of INT8 as it is written, in float."""
    from onnx.reference import ReferenceEvaluator

    int8 = export_model(source, tmp_path / "int8", task="embed", scales=scales)
    rounded = export_model(source, tmp_path / "rounded", task="embed", form=Form(rounded_weights=True), scales=scales)
    assert not any(name.endswith("int8") for name in weights_in(rounded.folder))
    some = CalibrationData(data.batches[:3], data.origin)
    evaluator = ReferenceEvaluator(str(int8.folder / "model.onnx"))
    written = np.concatenate([evaluator.run(["embedding"], dict(batch))[0] for batch in some.batches])
    cosine = np.einsum("ij,ij->i", embeddings(rounded.folder, some), written)
    assert cosine.min() > 0.9999  # a rounding that falls the other way changes a little


def test_what_is_left_out_stays_in_float(source: str, scales: Scales, tmp_path: Path) -> None:
    group = "encoder.layer.1.output.dense"
    export_model(source, tmp_path, task="embed", scales=scales.without(group))
    assert len(nodes(tmp_path, "QuantizeLinear")) == LAYERS * len(GROUPS) - 1
    assert scales.only(group).amax.keys() == {group}


def test_sums_that_a_float16_cannot_hold_are_float32(source: str, scales: Scales, tmp_path: Path) -> None:
    """TensorRT keeps them unscaled in front of a GELU that is smoothed, shifted or not rounded at all."""
    inner, outer, other = (
        f"encoder.layer.1.{part}" for part in ("intermediate.dense", "output.dense", "attention.self")
    )
    vector = np.ones(scales.mean[outer].shape, np.float32)

    def types(given: Scales) -> set[int]:
        export_model(source, tmp_path, task="embed", precision="fp16", scales=given)
        model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx"), strict_mode=True)
        told = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        assert told[f"{outer}/matmul"] == told["encoder.layer.0.intermediate.dense/matmul"] == onnx.TensorProto.FLOAT16
        return {told[f"{inner}/matmul"], told[f"{inner}/add"]}

    plain = replace(scales, smoothing={}, shift={})
    assert types(plain) == {onnx.TensorProto.FLOAT16}
    assert types(replace(plain, shift={outer: vector})) == {onnx.TensorProto.FLOAT}
    assert types(replace(plain, smoothing={outer: vector})) == {onnx.TensorProto.FLOAT}
    assert types(replace(plain, smoothing={outer: vector}).without(outer)) == {onnx.TensorProto.FLOAT}
    assert types(replace(plain, smoothing={other: np.ones_like(scales.mean[other])})) == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("form", [Form(), Form(joined_qkv=True), Form(rounded_weights=True), Form(time_major=True)])
def test_what_is_widened_for_tensorrt_computes_the_same(
    source: str, scales: Scales, data: CalibrationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    from onnx.reference import ReferenceEvaluator

    outer = [group for group in scales.mean if group.endswith("output.dense") and "attention" not in group]
    dice = np.random.default_rng(0)
    shift = {group: dice.normal(0, 0.1, len(scales.mean[group])).astype(np.float32) for group in outer}
    moved, made = replace(scales, shift={**scales.shift, **shift}), {}
    for precision, widens in (("fp32", True), ("fp32", False), ("fp16", True), ("fp16", False)):
        folder = tmp_path / f"{precision} {widens}"
        with monkeypatch.context() as patch:
            if not widens:
                patch.setattr(Dense, "unscaled", lambda *_: False)
            export_model(source, folder, task="embed", precision=precision, form=form, scales=moved)  # type: ignore[arg-type]
        made[precision, widens] = folder / "model.onnx"
    assert made["fp32", True].read_bytes() == made["fp32", False].read_bytes()
    assert made["fp16", True].read_bytes() != made["fp16", False].read_bytes()
    reference, wide = (
        ReferenceEvaluator(str(made[precision, True])).run(["embedding"], dict(data.batches[0]))[0]
        for precision in ("fp32", "fp16")
    )
    assert np.einsum("ij,ij->i", reference, wide).min() > 0.999


def test_tensorrt_rtx_builds_a_plan_of_it_without_a_gpu(source: str, scales: Scales, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'millirank[tensorrt-rtx-build]'")
    from millirank_engines.build.plan import Options, plan_from_onnx
    from millirank_engines.build.profiles import profiles_around

    export_model(source, tmp_path, task="embed", precision="fp16", form=FORM, scales=scales)
    narrow = profiles_around([Profile(1, 8), Profile(2, 16)])
    plan = plan_from_onnx(
        tmp_path / "model.onnx", narrow, backend="tensorrt-rtx", options=Options(capabilities=((8, 9),))
    )
    assert len(plan) > 1000


def test_scales_are_read_as_they_were_written(scales: Scales, tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    scales.write(path)
    again = Scales.read(path)
    assert again.amax == pytest.approx(scales.amax)
    assert all(np.array_equal(again.smoothing[g], v) for g, v in scales.smoothing.items())
    assert all(np.array_equal(again.shift[g], v) for g, v in scales.shift.items())
    assert all(np.array_equal(again.mean[g], v) for g, v in scales.mean.items())
    assert again.about == scales.about
    first = path.read_bytes()
    again.write(path)
    assert path.read_bytes() == first
    path.write_bytes(b"something else")
    with pytest.raises(EngineError, match=r"holds no scales .*--calibration"):
        Scales.read(path)


# Data


def test_batches_have_no_padding_and_bounded_tokens(exported: Export) -> None:
    made = sequences_data([np.arange(5, 5 + n % 30 + 1) for n in range(900)], exported.spec, "x")
    assert made.rows == 900
    for batch in made.batches:
        assert batch["attention_mask"].all()
        assert batch["input_ids"].size <= TOKENS
    used, held = split(made)
    assert used.rows + held.rows == 900
    assert held.rows == 225
    assert used.digest != held.digest


def test_pairs_become_pairs(exported: Export) -> None:
    made = pairs_data([(np.array([7, 8]), np.array([9])), (np.array([]), np.array([9]))], exported.spec, "x")
    assert made.rows == 1
    assert made.batches[0]["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    with pytest.raises(EngineError, match="no text to calibrate on in x: give"):
        pairs_data([], exported.spec, "x")
    with pytest.raises(EngineError, match=r"too few .*give 8 or more"):
        split(made)


def test_no_text_of_a_pair_both_calibrates_and_is_held_back() -> None:
    texts = [np.array([10 + i, 5]) for i in range(20)]
    ring = [(texts[i] + 100, texts[j]) for i in range(20) for j in (i, i - 1)]  # each product in two pairs
    dense = [(query + 100, product) for query in texts for product in texts]
    for pairs in (ring, dense):
        used, held = split_pairs(distinct_pairs([*pairs, *pairs[:7]]), "x")
        for place in (0, 1):
            assert not {pair[place].tobytes() for pair in used} & {pair[place].tobytes() for pair in held}
        assert len(used) > len(held) > 0
    assert len(held) == 25
    assert len(used) == 225
    with pytest.raises(EngineError, match=r"3 pairs of x are too few .*give 8 or more"):
        split_pairs(ring[:3], "x")


def test_repeated_texts_count_once() -> None:
    texts = [np.array([7, 8]), np.array([9]), np.array([7, 8], np.int32)]
    assert [ids.tolist() for ids in distinct(texts)] == [[7, 8], [9]]
    assert len(distinct_pairs([(texts[0], texts[1]), (texts[2], texts[1]), (texts[1], texts[0])])) == 2


# Ranges


def test_four_ways_cut_a_long_tail_differently() -> None:
    values = np.abs(np.concatenate([np.random.default_rng(0).standard_normal(100_000), [100.0]]))
    found = Histogram(*np.histogram(values, 2048))
    cuts = {method: amax(found, method, 99.9) for method in ranges.METHODS}
    assert cuts["max"] == pytest.approx(100, rel=0.01)
    assert cuts["percentile"] == pytest.approx(np.quantile(values, 0.999), abs=0.06)
    assert cuts["percentile"] < cuts["mse"] < cuts["max"]
    assert cuts["entropy"] < cuts["max"]
    with pytest.raises(EngineError, match="no calibration by magic: use max, percentile"):
        amax(found, "magic")  # type: ignore[arg-type]


def test_calibration_goes_on_where_it_was_stopped(exported: Export, data: CalibrationData, tmp_path: Path) -> None:
    many = CalibrationData(data.batches * 2, "x")
    onnx_file = exported.folder / "model.onnx"
    whole = histograms(onnx_file, many, tmp_path / "whole", lambda _: None)
    said: list[str] = []

    def stop(line: str) -> None:
        said.append(line)
        if len(said) == ranges.SAVED + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        histograms(onnx_file, many, tmp_path / "work", stop)
    said.clear()
    again = histograms(onnx_file, many, tmp_path / "work", said.append)
    assert len(said) == len(many.batches) - ranges.SAVED
    assert said[-1].startswith("calibrating: 100%")
    for group, one in whole.items():
        assert np.array_equal(one.counts, again[group].counts)
    said.clear()
    histograms(onnx_file, many, tmp_path / "work", said.append)
    assert said == []


@pytest.mark.parametrize("damage", ["cut", "not all groups", "flipped"])
def test_damaged_histograms_are_made_anew(exported: Export, data: CalibrationData, tmp_path: Path, damage: str) -> None:
    onnx_file = exported.folder / "model.onnx"
    whole = histograms(onnx_file, data, tmp_path, lambda _: None)
    saved = tmp_path / "histograms.npz"
    if damage == "not all groups":
        with np.load(saved) as file:
            parts = dict(file)
        del parts[f"{list(whole)[-1]}/high"]
        np.savez_compressed(saved, **parts)
    else:
        content = bytearray(saved.read_bytes())
        content[len(content) // 2] ^= 255
        saved.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    again = histograms(onnx_file, data, tmp_path, lambda _: None)
    for group, one in whole.items():
        assert np.array_equal(one.counts, again[group].counts)


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'millirank\[quantize\]'"):
        ranges.onnx_runtime()


def test_recipes_refuse_what_cannot_be() -> None:
    with pytest.raises(EngineError, match="alpha is 2: choose 0"):
        Recipe(alpha=2)
    with pytest.raises(EngineError, match="percentile is 0: choose one above 0"):
        Recipe(percentile=0)
    with pytest.raises(EngineError, match="no calibration by magic"):
        Recipe("magic")  # type: ignore[arg-type]


# Smoothing


def seen(rows: dict[str, np.ndarray]) -> Inputs:
    lows, highs, means = ({n: np.asarray(f(x, axis=0)) for n, x in rows.items()} for f in (np.min, np.max, np.mean))
    return Inputs(lows, highs, means, rows)


def test_a_layer_with_one_wide_channel_is_smoothed_and_an_even_one_is_not() -> None:
    dice = np.random.default_rng(0)
    even = dice.uniform(-1, 1, (256, 8)).astype(np.float32)
    wide = even * np.array([300, *[1] * 7], np.float32)
    weight = dice.uniform(-1, 1, (8, 4)).astype(np.float32)
    inputs = seen({"even": even, "wide": wide})
    found = smoothed(inputs, {"even": weight, "wide": weight}, None, 8)
    assert found.alphas["wide"] >= 0.5
    assert found.vectors["wide"][0] > 10 * found.vectors["wide"][1:].max()
    assert np.exp(np.log(found.vectors["wide"]).mean()) == pytest.approx(1, rel=1e-4)
    none = smoothed(inputs, {"even": weight, "wide": weight}, 0, 8, shift=False)
    assert (none.vectors, none.shifts, none.alphas) == ({}, {}, {})


def test_channels_that_lie_on_one_side_are_moved_to_the_middle() -> None:
    dice = np.random.default_rng(0)
    sided, even = dice.uniform(3, 9, (256, 8)), dice.uniform(-3, 3, (256, 8))
    weight = dice.uniform(-1, 1, (8, 4)).astype(np.float32)
    inputs = seen({"sided": sided.astype(np.float32), "even": even.astype(np.float32)})
    found = smoothed(inputs, {"sided": weight, "even": weight}, 0, 8)
    assert found.shifts["sided"] == pytest.approx(np.full(8, 6), abs=0.2)
    assert np.abs(found.shifts.get("even", np.zeros(8))).max() < 0.2


def test_one_wide_output_does_not_decide_for_all() -> None:
    """Where an output is a thousand times as wide as the others, the others still choose."""
    dice = np.random.default_rng(0)
    rows = dice.standard_normal((256, 16)).astype(np.float32) * np.array([40, *[1] * 15], np.float32)
    weight = dice.standard_normal((16, 8)).astype(np.float32)
    alone = smoothed(seen({"x": rows}), {"x": weight}, None, 8, shift=False).alphas["x"]
    weight[:, 0] *= 1000
    beside = smoothed(seen({"x": rows}), {"x": weight}, None, 8, shift=False).alphas["x"]
    assert abs(beside - alone) <= 0.1


# Sensitivity


def test_the_worst_layers_are_spared_until_the_rest_is_good(scales: Scales) -> None:
    bad = {"encoder.layer.0.output.dense": 0.02, "encoder.layer.1.output.dense": 0.01}

    def measure(some: Scales) -> Deviation:
        error = 0.001 + sum(loss for group, loss in bad.items() if group in some.amax)
        return Deviation(error, 1 - error, 1 - error / 2)

    made = spared(scales, measure, lambda _: None)
    assert made.about["float"] == list(bad)
    assert scales.amax.keys() - made.amax.keys() == bad.keys()
    table = made.about["sensitivity"]
    assert [row["layer"] for row in table] == list(scales.amax)
    assert {row["layer"] for row in table if row["float"]} == bad.keys()
    assert made.about["deviation"]["cosine_p1"] == 0.999
    with pytest.raises(EngineError, match="every layer suffers from INT8"):
        spared(scales, lambda _: Deviation(1, 0, 0), lambda _: None)


def test_deviations_are_those_of_the_engine(source: str, scales: Scales, data: CalibrationData, tmp_path: Path) -> None:
    measure = Deviations(source, task="embed", held=data, work=tmp_path)
    assert measure(Scales()).error == 0
    whole, part = measure(scales), measure(scales.only("encoder.layer.0.attention.self"))
    assert 0 < part.error < whole.error
    assert whole.cosine_p1 is not None
    assert whole.cosine_p1 < 1
    assert deviation(np.array([1, 2], np.float32), np.array([1, 3], np.float32)).error == pytest.approx(np.sqrt(0.5))


def test_a_sweep_goes_on_where_it_was_stopped(
    source: str, scales: Scales, data: CalibrationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Deviation] = []
    measured = sensitivity.deviation

    def counted(got: NDArray[np.float32], reference: NDArray[np.float32]) -> Deviation:
        runs.append(measured(got, reference))
        return runs[-1]

    def stop(line: str) -> None:
        if line.startswith("layer by layer: 100%"):
            raise KeyboardInterrupt

    two = replace(scales, amax=dict(list(scales.amax.items())[:2]))

    def sweep(say: Callable[[str], None], held: CalibrationData = data) -> Scales:
        return spared(two, Deviations(source, task="embed", held=held, work=tmp_path), say)

    monkeypatch.setattr(sensitivity, "deviation", counted)
    monkeypatch.setattr(sensitivity, "COSINE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        sweep(stop)
    assert len(runs) == 1
    made = sweep(lambda _: None)
    assert len(runs) == 3  # each alone, then both
    assert sweep(lambda _: None).about == made.about
    assert len(runs) == 3
    sweep(lambda _: None, CalibrationData(data.batches[1:], "x"))
    assert len(runs) == 6
    for path in (tmp_path / "deviations").iterdir():
        path.write_text("torn")
    assert sweep(lambda _: None).about == made.about


def test_rerankers_are_calibrated_on_pairs(reranker: str, tmp_path: Path) -> None:
    spec = export_model(reranker, tmp_path / "m", task="rerank").spec
    some = random_sequences(48, spec, 6)
    made = pairs_data(list(zip(some, reversed(some), strict=True)), spec, "random tokens")
    calibrator = Calibrator(reranker, task="rerank", data=made, work=tmp_path)
    found = calibrator.scales(Recipe("mse"))
    assert len(found.amax) == LAYERS * len(GROUPS)
    assert not any("pooler" in group or "classifier" in group for group in found.amax)
    measure = Deviations(reranker, task="rerank", held=made, work=tmp_path)
    assert measure(Scales(smoothing=found.smoothing)).error < 1e-3
    assert measure(found.only("encoder.layer.0.attention.self")).error > 0
    eight = replace(found, weight_bits=8)
    export_model(reranker, tmp_path / "q", task="rerank", scales=eight)
    assert len(nodes(tmp_path / "q", "QuantizeLinear")) == LAYERS * len(GROUPS) + 1  # the first token's row has its own
