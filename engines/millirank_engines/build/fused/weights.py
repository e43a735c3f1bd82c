"""A network's weights as the kernels take them."""

import numpy as np
from numpy.typing import NDArray

from millirank_engines.build.dense import KINDS, Weights
from millirank_engines.build.graph import CLASSIFIERS, TABLES, Network
from millirank_engines.program import ALL

LARGEST = 65504.0  # of float16
LOG2_E = 1.4426950408889634


def weights_of(network: Network, weights: Weights) -> dict[str, NDArray[np.generic]]:
    """The weights as the kernels take them: products (inner, outer) and tables in float16, all else in float32.

    What every layer has is one array, (layers, …), its name after ALL; norms are (2 layers + 1, hidden), that of the
    embeddings first, then two of each layer. Queries are scaled by the root of a head's width, and for exponentials of
    base 2.

    Raises:
        OverflowError: if a weight is too large for float16; the message names it.
    """
    first, end = network.first_position, network.first_position + network.max_length
    words, positions, kinds = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in TABLES)
    positions = positions[first:end] if network.type_ids else positions[first:end] + kinds[0]
    found: dict[str, NDArray[np.float32]] = {"words": words, "positions": positions, "kinds": kinds}
    norms = [_norm(weights, "embeddings.LayerNorm")]
    layers: list[dict[str, NDArray[np.generic]]] = []
    scale = LOG2_E / (network.hidden // network.heads) ** 0.5
    for i in range(network.layers):
        at = f"encoder.layer.{i}"
        parts = [(f"{at}.attention.self.{part}", f) for part, f in (("query", scale), ("key", 1.0), ("value", 1.0))]
        joined = [np.concatenate([weights[f"{name}.{kind}"] * np.float32(f) for name, f in parts]) for kind in KINDS]
        layer = _after(norms[-1], f"{i}.qkv", *joined)
        layer |= _product(weights, f"{at}.attention.output.dense", f"{i}.attended")
        norms.append(_norm(weights, f"{at}.attention.output.LayerNorm"))
        layer |= _after(norms[-1], f"{i}.inner", *(weights[f"{at}.intermediate.dense.{kind}"] for kind in KINDS))
        layer |= _product(weights, f"{at}.output.dense", f"{i}.outer")
        norms.append(_norm(weights, f"{at}.output.LayerNorm"))
        layers.append({name.partition(".")[2]: _kept(name, value) for name, value in layer.items()})
    if network.head == "bert":
        inner, outer = CLASSIFIERS["bert"]
        found |= _after(norms[-1], "pooler", *(weights[f"{inner}.{kind}"] for kind in KINDS))
        found |= {f"classifier.{kind}": weights[f"{outer}.{kind}"].reshape(-1) for kind in KINDS}
    done = {name: _kept(name, value) for name, value in found.items()}
    done |= {ALL + name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    gains, shifts = zip(*norms, strict=True)
    return done | {f"{ALL}norm.gain": np.stack(gains), f"{ALL}norm.shift": np.stack(shifts)}


def _product(weights: Weights, source: str, name: str) -> dict[str, NDArray[np.float32]]:
    """A linear layer of rows that are normal already, its weight (inner, outer)."""
    return {f"{name}.{kind}": weights[f"{source}.{kind}"].T for kind in KINDS}


def _after(
    norm: tuple[NDArray[np.float32], ...], name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """A linear layer (outer, inner) of rows that are not normalised yet: it holds gain and shift of what it skips."""
    gain, shift = norm
    held = weight.T * gain[:, None]
    sums = _kept(f"{name}.weight", held).astype(np.float32).sum(0)  # of the weights as they are used
    return {f"{name}.weight": held, f"{name}.sums": sums, f"{name}.bias": bias + weight @ shift}


def _norm(weights: Weights, source: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gain and shift."""
    gain, shift = (weights[f"{source}.{kind}"].astype(np.float32) for kind in KINDS)
    return gain, shift


def _kept(name: str, value: NDArray[np.float32]) -> NDArray[np.generic]:
    """Tables and products in float16, vectors in float32."""
    if value.ndim == 1:
        return value.astype(np.float32)
    if (largest := float(np.abs(value).max())) > LARGEST:
        raise OverflowError(
            f"{name} has a weight of {largest:.3g}, float16 ends at {LARGEST:.0f}: use --backend openvino"
        )
    return value.astype(np.float16)
