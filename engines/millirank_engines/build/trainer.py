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
from .lists import JUDGED, TEACHER, Lists

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

CHUNK = 384  # pairs of similar length that run together
NOTHING = -1e4  # the logit of a product that is not there


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults are those that the shipped reranker was trained with."""

    layers: int = 0  # of the model, evenly spaced among those that it starts from; 0 keeps all
    mined_weight: float = 1.0  # of the mined scores in the teacher, beside cross-encoders
    epochs: int = 3  # over the mined lists
    lr: float = 1e-4
    judged_epochs: int = 2  # afterwards, where there are judgments
    judged_lr: float = 2e-5
    judged_repeats: int = 8  # of each judged list in such an epoch, beside as many mined lists
    lists: int = 16  # a step
    candidates: int = 24  # of a list, at most; the first of each list are drawn anew for every epoch
    product_tokens: tuple[int, ...] = (24, 32, 48)  # a limit is drawn for each step, so that one model serves several
    served_tokens: int = 32  # of a product: the limit that the trained model is served with
    temperature: float = 1.0
    dropout: bool = True  # as the network's configuration says; on a CPU it takes a quarter of the time
    warmup: float = 0.06  # part of the steps
    decay: float = 0.01  # of weights that are no bias and no norm
    clip: float = 1.0  # norm of the gradient
    held: int = 400  # mined lists that are never trained on, at most a tenth
    seed: int = 13

    def __post_init__(self) -> None:
        """Refuses to serve what was not trained."""
        longest = max(self.product_tokens)
        if self.served_tokens > longest:
            raise EngineError(
                f"served_tokens is {self.served_tokens}, trained are {longest}: set it to {longest} or less"
            )


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
        self.config, self.weights = net.shallow(*net.load(init, device), settings.layers)
        self.shape = net.Shape.read(self.config)
        net.add_head(self.weights, self.shape.hidden, settings.seed)
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

        trained = {name: w for name, w in self.weights.items() if name != net.WORDS}
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
            keep = np.argsort(rng.random(rows.shape), axis=1)[:, : s.candidates]
            rows, targets = np.take_along_axis(rows, keep, 1), np.take_along_axis(targets, keep, 1)
        scores = self._scores(lists, rows, int(rng.choice(s.product_tokens)), train=True)
        loss = self._kl(scores, rows, targets).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, s.clip)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise EngineError(f"the loss is {value} at step {step + 1}: lower --lr")
        return value, int((rows >= 0).sum())

    def _scores(self, lists: NDArray[np.int64], rows: NDArray[np.int32], limit: int, *, train: bool) -> "Tensor":
        """Logits of the lists' products (lists, width), NOTHING where a list is shorter."""
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
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            for c in chunks:
                queries, products = self.query[on(query[c])], self.product[on(product[c])]
                length = int(lengths[c].max())
                length += -length % 8 if self.device.startswith("cuda") else 0  # tensor cores like multiples of eight
                special = self.lists.manifest["special"]
                pairs = net.pack(queries, on(query_lengths[c]), products, on(product_lengths[c]), length, special)
                parts.append(net.logits(self.weights, self.shape, pairs, train=train and self.settings.dropout))
        full = torch.full((rows.size,), NOTHING, device=self.device)
        return full.index_copy(0, on(np.flatnonzero(rows >= 0)[order]), torch.cat(parts)).view(rows.shape)

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
                scores = self._scores(lists, rows, max(self.settings.product_tokens), train=False)
                kl += float(self._kl(scores, rows, targets).sum())
                ours = np.sign(_differences(scores.cpu().numpy()))
                theirs = np.sign(_differences(targets))
                same += float(((ours == theirs) & (theirs > 0)).sum())
                pairs += float((theirs > 0).sum())
        return Held(epoch, kl / max(1, len(self.held)), same / max(1.0, pairs))


def _differences(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return scores[:, :, None] - scores[:, None, :]
