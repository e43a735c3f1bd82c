"""Tiny random models, written as the folders that transformers and sentence-transformers write, and tiny tokenizers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["bert", "roberta", "xlm-roberta"]
Tensors = dict[str, NDArray[Any]]

TEXTS = (
    "usb c cable 2 m",
    "a",
    "Kopfhörer mit Geräuschunterdrückung, schwarz, faltbar",
    "ワイヤレス イヤホン",
    "🎧 noise-cancelling headphones 🎧",
    "سماعات لاسلكية",
    "AA-1234/b (2nd gen.)",
    "a long description of a gaming laptop with 32 GB of memory, 1 TB of storage and a 16 inch display",
)
PAIRS = tuple(zip(TEXTS, reversed(TEXTS), strict=True))

ARCHITECTURES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
SPECIALS = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "xlm-roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}


@dataclass(frozen=True)
class Tiny:
    """The shape of a tiny model."""

    family: Family = "bert"
    task: Literal["embed", "rerank"] = "embed"
    pooling: str = "mean"  # mean, cls, or another one that is to be refused
    layers: int = 2
    hidden: int = 32
    heads: int = 4
    inner: int = 48
    positions: int = 258
    activation: str = "gelu"
    labels: int = 1
    seed: int = 7

    @property
    def prefix(self) -> str:
        """Of the keys in safetensors: a classifier's network is nested, a bare one is not."""
        return {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta."}[self.family] * (
            self.task == "rerank"
        )

    @property
    def types(self) -> int:
        return 2 if self.family == "bert" else 1


def write_model(folder: Path, tiny: Tiny) -> Path:
    """Writes config.json, model.safetensors, the tokenizer and, for an encoder, the sentence-transformers files."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder, tiny.family)
    write_json(folder / "config.json", config(tiny, vocabulary))
    save_file(tensors(tiny, vocabulary), folder / "model.safetensors")
    if tiny.task == "embed":
        modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        entries = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ]
        write_json(folder / "modules.json", entries)
        modes = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
        pooling = {f"pooling_mode_{mode}": name == tiny.pooling for name, mode in modes.items()}
        write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": tiny.hidden, **pooling})
    return folder


def calm(folder: Path) -> Path:
    """Makes the weights of a model's layers small, as trained ones are: rounding them changes little."""
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    save_file({n: v * np.float32(0.3) if "layer." in n and v.ndim > 1 else v for n, v in load_file(path).items()}, path)
    return folder


def write_json(path: Path, data: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=2), "utf-8")


def edit_json(path: Path, **changes: object) -> None:
    """Changes keys of a JSON file."""
    write_json(path, {**json.loads(path.read_text("utf-8")), **changes})


def config(tiny: Tiny, vocabulary: int) -> dict[str, Any]:
    kind = "ForSequenceClassification" if tiny.task == "rerank" else "Model"
    return {
        "architectures": [ARCHITECTURES[tiny.family] + kind],
        "model_type": tiny.family,
        "vocab_size": vocabulary,
        "hidden_size": tiny.hidden,
        "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads,
        "intermediate_size": tiny.inner,
        "hidden_act": tiny.activation,
        "max_position_embeddings": tiny.positions,
        "type_vocab_size": tiny.types,
        "layer_norm_eps": 1e-12 if tiny.family == "bert" else 1e-5,
        "pad_token_id": SPECIALS[tiny.family].index("[PAD]" if tiny.family == "bert" else "<pad>"),
        "id2label": {str(i): f"LABEL_{i}" for i in range(tiny.labels)},
        "label2id": {f"LABEL_{i}": i for i in range(tiny.labels)},
    }


def tensors(tiny: Tiny, vocabulary: int) -> Tensors:
    """Random weights, float32, wide enough that attention is far from uniform."""
    rng, width = np.random.default_rng(tiny.seed), tiny.hidden

    def normal(*shape: int) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    def linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", normal(rows, columns)
        yield f"{name}.bias", normal(rows)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.LayerNorm.weight", 1 + normal(width)
        yield f"{name}.LayerNorm.bias", normal(width)

    def network() -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield "embeddings.word_embeddings.weight", normal(vocabulary, width)
        yield "embeddings.position_embeddings.weight", normal(tiny.positions, width)
        yield "embeddings.token_type_embeddings.weight", normal(tiny.types, width)
        yield from norm("embeddings")
        for i in range(tiny.layers):
            name = f"encoder.layer.{i}"
            for part in ("query", "key", "value"):
                yield from linear(f"{name}.attention.self.{part}", width, width)
            yield from linear(f"{name}.attention.output.dense", width, width)
            yield from norm(f"{name}.attention.output")
            yield from linear(f"{name}.intermediate.dense", tiny.inner, width)
            yield from linear(f"{name}.output.dense", width, tiny.inner)
            yield from norm(f"{name}.output")
        if tiny.family == "bert" or tiny.task == "embed":
            yield from linear("pooler.dense", width, width)

    made = {tiny.prefix + name: value for name, value in network()}
    if tiny.task == "rerank" and tiny.family == "bert":
        made |= linear("classifier", tiny.labels, width)
    elif tiny.task == "rerank":
        made |= linear("classifier.dense", width, width)
        made |= linear("classifier.out_proj", tiny.labels, width)
    return made


def write_tokenizer(folder: Path, family: Family) -> int:
    """Writes the family's kind of tokenizer over the characters of TEXTS; returns its number of tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    specials = SPECIALS[family]
    characters = sorted({c for text in TEXTS for c in text.lower() if not c.isspace()})
    if family == "bert":
        words = [*specials, *characters, *("##" + c for c in characters), "cable", "head", "##phones"]
        tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", specials.index("[CLS]")), ("[SEP]", specials.index("[SEP]"))],
        )
        names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    else:
        names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}
        names["mask"] = "<mask>"
        if family == "roberta":
            words = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
            tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        else:
            pieces = [*specials[:4], "▁", *characters, *(c.upper() for c in characters if c.upper() not in characters)]
            scores = [(word, 0.0 if i < len(specials) - 1 else -1.0 - i / 100) for i, word in enumerate(pieces)]
            tokenizer = Tokenizer(models.Unigram([*scores, ("<mask>", 0.0)], unk_id=3, byte_fallback=False))
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
            tokenizer.decoder = decoders.Metaspace()
            tokenizer.post_processor = processors.TemplateProcessing(
                single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
            )
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    tokenizer.enable_truncation(16)  # an export must undo it
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, object] = {f"{name}_token": word for name, word in names.items()}
    settings["tokenizer_class"] = ARCHITECTURES[family] + "Tokenizer"
    settings["model_max_length"] = 250
    write_json(folder / "tokenizer_config.json", settings)
    return int(tokenizer.get_vocab_size())


def write_words(folder: Path, vocabulary: Mapping[str, int]) -> Path:
    """Writes a tokenizer of whole words in lower case, of which [UNK] is one; returns its file."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary), unk_token="[UNK]"))  # noqa: S106 - a word
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path
