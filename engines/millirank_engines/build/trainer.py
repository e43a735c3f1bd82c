"""The steps of training a cross-encoder on lists; every random draw is a function of the seed and the step.

The loss is listwise: KL(softmax(target / temperature) ‖ softmax(logits)) over the products of one query
(Cao et al. 2007, Learning to Rank: From Pairwise Approach to Listwise Approach).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError

from . import crossencoder as net
from . import mpnet, torchpack
from .lists import JUDGED, TEACHER, Lists
from .settings import Settings
from .tensors import WORDS

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

CHUNK = 384  # pairs of similar length that run together
NOTHING = -1e4  # the logit of a product that is not there


@dataclass(frozen=True)
class Tick:
    """What a step did."""

    step: int  # from 1
    steps: int
    loss: float
    pairs: int  # scored in this step
    held: "Held | None" = None  # at the end of an epoch


@dataclass(frozen=True)
class Held:
    """How the model ranks lists that it was not trained on."""

    epoch: int
    kl: float
    agreement: float  # part of all pairs of one list that stand in the teacher's order


class Trainer:
    """The lists and the weights on a device. Owns the weights; every random draw is a function of seed and step."""

    def __init__(self, lists: Lists, init: Path, settings: Settings, device: str) -> None:
        import torch

        self.lists, self.settings, self.device = lists, settings, device
        deeper, self.guide = net.load(init, device)
        self.config, shared = net.shallow(deeper, self.guide, settings.layers)
        self.guided = net.Shape.read(deeper)
        mpnet.refuse_others(deeper, lists.manifest["special"])
        self.weights = {name: w if name == WORDS else w.clone() for name, w in shared.items()}
        self.shape = net.Shape.read(self.config)
        for network in (self.weights, self.guide):
            net.add_head(network, self.shape.hidden, settings.seed)
        template = lists.manifest["template"]
        query, self.query_lengths = lists.queries.padded(template["query_tokens"])
        product, self.product_lengths = lists.products.padded(max(settings.product_tokens))
        self.query, self.product = torch.from_numpy(query).to(device), torch.from_numpy(product).to(device)
        rng = np.random.default_rng(settings.seed)
        mined = rng.permutation(np.flatnonzero(lists.kind == TEACHER))
        count = min(settings.held, len(mined) // 10)
        self.held, self.mined = np.sort(mined[:count]), np.sort(mined[count:])
        self.judged = np.flatnonzero(lists.kind == JUDGED)

    def run(self, checkpoint: Path, key: str, every: int, tell: Callable[[Tick], None]) -> list[Held]:
        """Trains from the checkpoint, or from the start, to the end."""
        import torch

        trained = {name: w for name, w in self.weights.items() if name != WORDS}
        for weight in trained.values():
            weight.requires_grad_()
        plain = [w for name, w in trained.items() if name.endswith("bias") or "LayerNorm" in name]
        decayed = [w for name, w in trained.items() if not (name.endswith("bias") or "LayerNorm" in name)]
        groups = [{"params": decayed, "weight_decay": self.settings.decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.settings.lr)
        plan = list(self._plan())
        first, held = self._resume(checkpoint, key, trained, optimizer)
        for step in range(first, len(plan)):
            lists, lr, epoch_ends = plan[step]
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss, pairs = self._learn(lists, step, optimizer, list(trained.values()))
            if epoch_ends:
                held.append(self._judge(len(held) + 1))
            tell(Tick(step + 1, len(plan), loss, pairs, held[-1] if epoch_ends else None))
            if (step + 1) % every == 0 or epoch_ends:
                state = {"key": key, "step": step + 1, "held": [asdict(h) for h in held]}
                state |= {"weights": trained, "optimizer": optimizer.state_dict()}
                partial = checkpoint.with_suffix(".part")
                torch.save(state, partial)
                partial.replace(checkpoint)
        return held

    def _resume(
        self,
        checkpoint: Path,
        key: str,
        trained: "dict[str, Tensor]",
        optimizer: "Optimizer",
    ) -> tuple[int, list[Held]]:
        import torch

        if not checkpoint.exists():
            return 0, []
        state = torch.load(checkpoint, map_location=self.device, weights_only=True)
        if state["key"] != key:
            raise EngineError(f"{checkpoint} is of a run with other inputs: delete it or choose another --out")
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        return state["step"], [Held(**h) for h in state["held"]]

    def _plan(self) -> Iterator[tuple[NDArray[np.int64], float, bool]]:
        """For every step its lists, its learning rate, and whether an epoch ends with it."""
        s = self.settings
        phases = [(s.epochs, s.lr, False)]
        if len(self.judged):
            phases.append((s.judged_epochs, s.judged_lr, True))
        for phase, (epochs, lr, judged) in enumerate(phases):
            batches: list[NDArray[np.int64]] = []
            ends = set()
            for epoch in range(epochs):
                rng = np.random.default_rng([s.seed, phase, epoch])
                order = rng.permutation(self.mined)
                if judged:
                    often = np.repeat(self.judged, s.judged_repeats)
                    order = rng.permutation(np.concatenate([often, order[: len(often)]]))
                batches += [order[i : i + s.lists] for i in range(0, len(order), s.lists)]
                ends.add(len(batches) - 1)
            warm = max(1, round(s.warmup * len(batches)))
            for i, batch in enumerate(batches):
                yield batch, lr * min((i + 1) / warm, (len(batches) - i) / max(1, len(batches) - warm)), i in ends

    def _learn(
        self,
        lists: NDArray[np.int64],
        step: int,
        optimizer: "Optimizer",
        weights: "list[Tensor]",
    ) -> tuple[float, int]:
        import torch

        s = self.settings
        rng = np.random.default_rng([s.seed, 97, step])
        torch.manual_seed(int(rng.integers(1 << 62)))
        rows, targets = self.lists.rows[lists], self.lists.targets[lists]
        if s.candidates < rows.shape[1]:
            drawn = rng.random(rows.shape) + (rows < 0)  # what is there comes first
            keep = np.argsort(drawn, axis=1)[:, : s.candidates]
            rows, targets = np.take_along_axis(rows, keep, 1), np.take_along_axis(targets, keep, 1)
        scores, apart = self._scores(lists, rows, int(rng.choice(s.product_tokens)), train=True)
        loss = self._kl(scores, rows, targets).mean() + s.hidden * apart
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, s.clip)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise EngineError(f"the loss is {value} at step {step + 1}: lower --lr")
        return value, int((rows >= 0).sum())

    def _scores(
        self, lists: NDArray[np.int64], rows: NDArray[np.int32], limit: int, *, train: bool
    ) -> "tuple[Tensor, Tensor]":
        """Logits of the lists' products (lists, width), NOTHING where a list is shorter; how far states are apart."""
        import torch

        at, _ = np.nonzero(rows >= 0)
        query, product = self.lists.query[lists][at], rows[rows >= 0]
        query_lengths, product_lengths = self.query_lengths[query], np.minimum(self.product_lengths[product], limit)
        lengths = query_lengths + product_lengths + 3
        order = np.argsort(lengths, kind="stable")
        chunks = np.array_split(order, max(1, round(len(order) / CHUNK)))

        def on(values: NDArray[np.generic]) -> "Tensor":
            return torch.from_numpy(np.ascontiguousarray(values, np.int64)).to(self.device, non_blocking=True)

        parts = []
        apart = torch.zeros((), device=self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            for c in chunks:
                queries, products = self.query[on(query[c])], self.product[on(product[c])]
                length = int(lengths[c].max())
                length += -length % 8 if self.device.startswith("cuda") else 0  # tensor cores like multiples of eight
                special = self.lists.manifest["special"]
                pairs = torchpack.pack(queries, on(query_lengths[c]), products, on(product_lengths[c]), length, special)
                dropout = train and self.settings.dropout
                states = list(net.states(self.weights, self.shape, pairs, train=dropout))
                parts.append(net.score(self.weights, self.shape, states[-1], train=dropout))
                if train and self.settings.hidden:
                    apart = apart + self._apart(states, pairs) / len(chunks)
        full = torch.full((rows.size,), NOTHING, device=self.device)
        scores = full.index_copy(0, on(np.flatnonzero(rows >= 0)[order]), torch.cat(parts)).view(rows.shape)
        return scores, apart

    def _apart(self, states: "list[Tensor]", pairs: torchpack.Pairs) -> "Tensor":
        """The mean squared distance of each layer's states from those of the layer that it was, over real tokens.

        Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding; of one width, so not projected.
        """
        import torch

        with torch.no_grad():
            theirs = list(net.states(self.guide, self.guided, pairs))
        kept = net.kept_layers(self.guided.layers, self.shape.layers)
        real = pairs.mask[:, :, None]
        return torch.stack(
            [
                ((ours.float() - theirs[place].float()) ** 2 * real).sum() / (real.sum() * self.shape.hidden)
                for ours, place in zip(states, kept, strict=True)
            ]
        ).mean()

    def _kl(self, scores: "Tensor", rows: NDArray[np.int32], targets: NDArray[np.float32]) -> "Tensor":
        """KL(teacher ‖ student) of each list, (lists,)."""
        import torch

        shaped = torch.from_numpy(np.where(rows >= 0, targets / self.settings.temperature, NOTHING)).to(self.device)
        wanted = torch.log_softmax(shaped.float(), 1)
        return (wanted.exp() * (wanted - torch.log_softmax(scores, 1))).sum(1)

    def _judge(self, epoch: int) -> Held:
        import torch

        kl, same, pairs = 0.0, 0.0, 0.0
        with torch.no_grad():
            for start in range(0, len(self.held), self.settings.lists):
                lists = self.held[start : start + self.settings.lists]
                rows, targets = self.lists.rows[lists], self.lists.targets[lists]
                scores, _ = self._scores(lists, rows, max(self.settings.product_tokens), train=False)
                kl += float(self._kl(scores, rows, targets).sum())
                ours = np.sign(_differences(scores.cpu().numpy()))
                theirs = np.sign(_differences(targets))
                same += float(((ours == theirs) & (theirs > 0)).sum())
                pairs += float((theirs > 0).sum())
        return Held(epoch, kl / max(1, len(self.held)), same / max(1.0, pairs))


def _differences(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return scores[:, :, None] - scores[:, None, :]
