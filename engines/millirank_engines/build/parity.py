"""Whether an engine says what its model says in FP32.

The reference is made once, at build, from the exported FP32 graph, and lies sealed in the artifact (parity.safetensors:
inputs and outputs), so any backend on any machine can be held to the same numbers. OpenVINO computes it in f32, on the
original dynamic graph; that it is right is shown by onnx's own evaluator, in numpy, on some rows (it takes seconds for
what OpenVINO does in a millisecond, so it cannot compute them all).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Engine, EngineError, Profile, Tensors
from millirank_engines.figures import Check
from millirank_engines.model import ModelSpec, Task
from millirank_engines.pack import pack_pairs, pack_sequences

PARITY = "parity.safetensors"
# metric: (bound, whether the value must be at least that), by task and arithmetic
_BOUNDS: dict[tuple[Task, str], dict[str, tuple[float, bool]]] = {
    ("embed", "fp32"): {"cosine_p1": (0.99999, True), "max_abs_error": (1e-4, False)},
    ("embed", "fp16"): {"cosine_p1": (0.9999, True), "max_abs_error": (2e-3, False)},
    ("embed", "bf16"): {"cosine_p1": (0.999, True), "max_abs_error": (1e-2, False)},
    ("rerank", "fp32"): {"max_abs_error": (1e-4, False), "kendall_tau": (0.999, True)},
    ("rerank", "fp16"): {"max_error_in_sd": (0.02, False), "kendall_tau": (0.99, True)},
    ("rerank", "bf16"): {"max_error_in_sd": (0.25, False), "kendall_tau": (0.95, True)},
    ("embed", "half"): {"cosine_p1": (0.9995, True), "max_abs_error": (5e-3, False)},
    ("rerank", "half"): {"max_error_in_sd": (0.05, False), "kendall_tau": (0.98, True)},
    ("embed", "int8"): {"cosine_p1": (0.97, True)},  # on texts of random words; on real ones the gate asks for more
    ("rerank", "int8"): {"kendall_tau": (0.8, True)},
}
_TOP = 10  # of a ranking
_OVERLAP = {
    "fp32": 0.999,
    "fp16": 0.99,
    "bf16": 0.9,
    "half": 0.97,
    "int8": 0.7,
}  # of the first _TOP, the mean over rankings
_EVALUATOR_BOUND = 1e-4
_EVALUATOR_ROWS = 2


@dataclass(frozen=True)
class Case:
    """Inputs of one profile and what the model says to them in FP32."""

    profile: Profile
    feeds: Tensors
    reference: NDArray[np.float32]  # embedding (batch, dim) or score (batch,)


def output_name(task: Task) -> str:
    """What the model's output is called."""
    return "embedding" if task == "embed" else "score"


def words(tokenizer: Path, spec: ModelSpec) -> NDArray[np.int32]:
    """Ids of the vocabulary's whole words, sorted; of all ordinary tokens if there are fewer than a hundred."""
    model = json.loads(tokenizer.read_bytes())["model"]
    vocabulary = model["vocab"]  # a dict, or a list of (token, score)
    ids = dict(vocabulary) if isinstance(vocabulary, dict) else {t[0]: i for i, t in enumerate(vocabulary)}
    special = {spec.cls_id, spec.sep_id, spec.pad_id}
    ordinary = sorted(i for i in ids.values() if i not in special)
    whole = sorted(i for t, i in ids.items() if t.lstrip("▁Ġ").isalpha() and len(t) > 2 and i not in special)  # noqa: PLR2004
    return np.array(whole if len(whole) >= 100 else ordinary, np.int32)  # noqa: PLR2004 - said above


def parity_feeds(spec: ModelSpec, vocabulary: NDArray[np.int32], profiles: Sequence[Profile]) -> dict[Profile, Tensors]:
    """For every profile a full batch: texts, or a query with products of which some have its words; always the same."""
    rng = np.random.default_rng(0)
    feeds: dict[Profile, Tensors] = {}
    for profile in sorted(profiles):
        room = profile.length - 2
        if spec.task == "embed":
            lengths = rng.integers(max(1, room // 2), room + 1, profile.batch)
            feeds[profile] = pack_sequences([rng.choice(vocabulary, n) for n in lengths], profile, spec)
            continue
        query = rng.choice(vocabulary, min(int(rng.integers(1, 7)), room // 2))
        room -= len(query) + spec.pair_separators
        lengths = rng.integers(max(1, room // 2), room + 1, profile.batch)
        products = [rng.choice(vocabulary, n) for n in lengths]
        for product in products[::2]:
            kept = query[: rng.integers(1, len(query) + 1)][: len(product)]
            product[: len(kept)] = kept
        feeds[profile] = pack_pairs([query] * profile.batch, products, profile, spec)
    return feeds


def reference_cases(onnx: Path, feeds: Mapping[Profile, Tensors], task: Task) -> tuple[list[Case], Check]:
    """The cases with their FP32 outputs, and the check that these agree with onnx's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    from millirank_engines.openvino import OpenVinoEngine

    name = output_name(task)
    engine = OpenVinoEngine(onnx, tuple(feeds), "fp32", static_tokens=0)
    cases = [Case(profile, feed, engine.infer(feed)[name]) for profile, feed in feeds.items()]
    engine.close()
    first = min(cases, key=lambda case: (case.profile.length, -case.profile.batch))
    rows = {key: value[:_EVALUATOR_ROWS] for key, value in first.feeds.items()}
    (truth,) = ReferenceEvaluator(str(onnx)).run([name], rows)
    error = float(np.abs(truth - first.reference[:_EVALUATOR_ROWS]).max())
    return cases, Check("reference_error", error, _EVALUATOR_BOUND)


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Writes the cases as safetensors."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for case in cases:
        tensors |= {f"{case.profile}/feed/{name}": feed for name, feed in case.feeds.items()}
        tensors[f"{case.profile}/reference"] = case.reference
    path.write_bytes(save(tensors))  # save_file would make it readable by its owner only


def read_cases(path: Path, profiles: Sequence[Profile]) -> list[Case]:
    """Reads what write_cases wrote.

    Raises:
        EngineError: if a profile is missing.
    """
    from safetensors.numpy import load_file

    tensors = load_file(path)
    cases = []
    for profile in profiles:
        prefix = f"{profile}/feed/"
        feeds = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if f"{profile}/reference" not in tensors or not feeds:
            raise EngineError(f"{path} has no reference for {profile}: rebuild with `millirank engine build --force`")
        cases.append(Case(profile, feeds, tensors[f"{profile}/reference"]))
    return cases


def arithmetic(backend: str, precision: str) -> str:
    """What decides how far an engine may be off: OpenVINO only stores float16, a GPU computes in it, which is half.

    Of several precisions, the coarsest.
    """
    if "int8" in precision:
        return "int8"
    return "half" if precision == "fp16" and backend != "openvino" else precision


def parity(engine: Engine, cases: Sequence[Case], task: Task, precision: str) -> tuple[Check, ...]:
    """Holds the engine to the reference on every case; precision is what arithmetic says."""
    got = [engine.infer(case.feeds)[output_name(task)] for case in cases]
    error = np.concatenate([np.abs(g - case.reference).ravel() for g, case in zip(got, cases, strict=True)])
    truth = np.concatenate([case.reference for case in cases])
    values = {"max_abs_error": float(error.max())}
    if task == "embed":
        cosine = np.einsum("ij,ij->i", np.concatenate(got), truth)  # both are of unit length
        values["cosine_p1"] = float(np.quantile(cosine, 0.01))
    else:
        values["max_error_in_sd"] = float(error.max() / truth.std())
        values["kendall_tau"] = kendall_tau([(g, case.reference) for g, case in zip(got, cases, strict=True)])
    bounds = _BOUNDS[task, precision]
    return tuple(Check(metric, values[metric], *bound) for metric, bound in bounds.items())


def rankings_agree(engine: Engine, cases: Sequence[Case], task: Task, precision: str) -> tuple[Check, ...]:
    """How much of a ranking's first ten the engine and the reference share; nothing where no case ranks more.

    A reranker's case is one ranking by score; an encoder's ranks all its other texts by their closeness to the first.
    """
    shares = []
    for case in cases:
        got = engine.infer(case.feeds)[output_name(task)]
        ours, truth = (x[1:] @ x[0] if task == "embed" else x for x in (got, case.reference))
        if len(truth) > _TOP:
            tops = [set(np.argsort(-x, kind="stable")[:_TOP].tolist()) for x in (ours, truth)]
            shares.append(len(tops[0] & tops[1]) / _TOP)
    name = f"top{_TOP}_overlap"
    return (Check(name, float(np.mean(shares)), _OVERLAP[precision], at_least=True),) if shares else ()


def kendall_tau(rankings: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    """Kendall's tau over the pairs that the reference orders (Somers' D), all rankings together; 1 if there are none.

    Args:
        rankings: scores and the reference's, each (texts,). What the reference ties has no order to keep; what ties
            only in the scores counts as half lost.
    """
    agreeing, pairs = 0.0, 0
    for a, b in rankings:
        order = np.sign(b[:, None] - b)
        agreeing += float((np.sign(a[:, None] - a) * order).sum()) / 2
        pairs += int(np.count_nonzero(order)) // 2
    return agreeing / pairs if pairs else 1.0
