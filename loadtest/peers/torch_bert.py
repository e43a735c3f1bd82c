"""The same models through PyTorch, as an engine of ours: transformers' own BERT, eager or compiled, in FP16 or FP32.

What is timed is what our engines are timed for: host arrays in, host array out, the device waited for.
"""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from millirank_engines.base import Profile, Tensors
from millirank_engines.build.parity import output_name
from millirank_engines.build.source import open_source
from millirank_engines.model import Task

DEVICE = "cuda"
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class _Encoder(torch.nn.Module):
    """Mean pooling and unit length over a BertModel."""

    def __init__(self, net: BertModel) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        rows = self.net(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state.float()
        pooled = (rows * mask[:, :, None]).sum(1)
        return torch.nn.functional.normalize(pooled, dim=1)


class _Reranker(torch.nn.Module):
    """The one logit of a BertForSequenceClassification."""

    def __init__(self, net: BertForSequenceClassification) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        return self.net(input_ids=ids, attention_mask=mask, token_type_ids=types).logits[:, 0].float()


def network(source: str, task: Task, precision: str) -> torch.nn.Module:
    """A model of ours on the GPU, with the same weights as its artifact."""
    found = open_source(source)
    config = BertConfig(**{**found.config, "num_labels": 1})
    net = BertModel(config, add_pooling_layer=False) if task == "embed" else BertForSequenceClassification(config)
    state = {
        name: torch.from_numpy(np.array(found.weights[name.removeprefix("bert.")]))
        for name in net.state_dict()
        if not name.endswith("position_ids")
    }
    net.load_state_dict(state, strict=False)
    wrapped = _Encoder(net) if task == "embed" else _Reranker(net)
    return wrapped.to(DEVICE, DTYPES[precision]).eval()


class TorchEngine:
    """See Engine.

    Args:
        source: of the model, as `millirank engine build --model` takes it.
        task: embed or rerank.
        profiles: the shapes that it will take.
        precision: fp16 or fp32.
        compiled: whether torch.compile makes CUDA graphs of it (mode reduce-overhead), one a shape.
    """

    def __init__(
        self, source: str, task: Task, profiles: Sequence[Profile], precision: str, *, compiled: bool = False
    ) -> None:
        self.name = f"torch-{'compile' if compiled else 'eager'}/{precision}"
        self.profiles = tuple(sorted(profiles))
        self._output = output_name(task)
        self._net = network(source, task, precision)
        if compiled:
            torch._dynamo.config.cache_size_limit = max(64, len(self.profiles))  # noqa: SLF001 - its only setting
            self._net = torch.compile(self._net, mode="reduce-overhead", dynamic=False)

    @torch.inference_mode()
    def infer(self, feeds: Tensors) -> dict[str, np.ndarray]:
        """See Engine."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = [torch.from_numpy(feeds[name]).to(DEVICE, torch.int64, non_blocking=True) for name in names]
        return {self._output: self._net(*inputs).cpu().numpy()}

    def close(self) -> None:
        """See Engine."""
        self.profiles = ()
        del self._net
        torch.cuda.empty_cache()
