"""The model card of a trained cross-encoder, written from the record of its run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Scores = Sequence[tuple[str, Mapping[str, float]]]  # a ranking, and its figures by name


def write_card(folder: Path, record: Mapping[str, Any], scores: Scores = (), scored_on: str = "") -> None:
    """Writes README.md.

    Args:
        folder: of the model.
        record: training.json's content.
        scores: figures on queries that were not trained on, if they are known yet.
        scored_on: what those queries are.
    """
    mined, settings, template = record["mined"], record["settings"], record["template"]
    recipe = mined["recipe"]
    judged = mined["judged_queries"]
    catalogues = [
        f"| {c['name']} | {c['products']:,} | {c['pseudo_queries']:,} | `{c['sha256'][:16]}` |"
        for c in mined["catalogues"]
    ]
    used = (
        f"Human judgments of {judged} queries were used in {settings['judged_epochs']} further epochs at learning rate "
        f"{settings['judged_lr']:g}, mixed with as many mined lists."
        if judged
        else "No clicks, no labels and no human judgments were used."
    )
    lines = [
        "---",
        "license: apache-2.0",
        f"base_model: {mined['word_embeddings']}",
        "pipeline_tag: text-ranking",
        "---",
        "# A cross-encoder for product search",
        "",
        f"Made by `millirank train` from {mined['word_embeddings']}, whose word embeddings it shares: they were frozen",
        "and are not in this folder. It scores (query, product) pairs; scores are comparable within one query only.",
        "",
        "## Data",
        "",
        "| catalogue | products | pseudo-queries | sha256 of its texts |",
        "| --- | --- | --- | --- |",
        *catalogues,
        "",
        used,
        f"{mined['held_out']:,} queries were held out: no pseudo-query equals one of them.",
        "",
        "## Recipe",
        "",
        f"- Pseudo-queries by rule from the catalogue's fields: {_kinds(mined)};",
        f"  {recipe['each']} products each from BM25, from dense retrieval and at random, and by rule at most",
        f"  {recipe['right']} that are right and {recipe['wrong']} that only look so.",
        f"- Teacher: {_teacher(record)}, over {' + '.join(template['fields'])}.",
        f"- {record['layers']} layers, from {record['init']}{_matched(settings['hidden'])}.",
        f"- Listwise KL at temperature {settings['temperature']:g}, {settings['epochs']} epochs, AdamW, learning rate",
        f"  {settings['lr']:g}, {settings['lists']} lists of at most {settings['candidates']} products a step;",
        f"  limit of a product's tokens: {' or '.join(map(str, settings['product_tokens']))}.",
        f"- Seeds {recipe['seed']} (mining) and {settings['seed']} (training).",
        f"- torch {record['torch']}, {record['device']}.",
        "",
        "```",
        record["command"],
        "```",
        "",
        "## Scores",
        "",
        "On pseudo-queries that were not trained on, against the teacher:",
        "",
        "| epoch | KL | pairs in the teacher's order |",
        "| --- | --- | --- |",
        *[f"| {h['epoch']} | {h['kl']:.4f} | {h['agreement']:.1%} |" for h in record["held"]],
        *_scored(scores, scored_on),
        "",
        "## Licence",
        "",
        "Apache-2.0, as the model that it starts from.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _kinds(mined: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in mined["pseudo_queries"].items())


def _matched(hidden: float) -> str:
    return f", whose states are matched at weight {hidden:g}" if hidden else ""


def _teacher(record: Mapping[str, Any]) -> str:
    recipe, settings = record["mined"]["recipe"], record["settings"]
    mined = [(name, recipe[f"{name}_weight"]) for name in ("dense", "bm25", "rule")]
    weighted = [(name, settings["mined_weight"] * weight) for name, weight in settings["mix"] or mined]
    weighted += [(teacher["name"], teacher["weight"]) for teacher in record["teachers"]]
    return " + ".join(f"{weight:g} z({name})" for name, weight in weighted if weight)


def _scored(scores: Scores, scored_on: str) -> list[str]:
    if not scores:
        return []
    names = list(scores[0][1])
    rows = [f"| {ranking} | " + " | ".join(f"{figures[n]:.3f}" for n in names) + " |" for ranking, figures in scores]
    return ["", f"On {scored_on}:", "", f"| ranking | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}", *rows]
