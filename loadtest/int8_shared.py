"""What INT8 is measured with on processors and on GPUs alike: options, inputs, scales, what `auto` chose."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from options import parser_of, some_of
from report import Row

from millirank_engines import Manifest, Profile, Tensors
from millirank_engines.build.export import Export
from millirank_engines.build.parity import parity_feeds, words
from millirank_engines.build.quantize.int8 import INT8, Int8
from millirank_engines.build.quantize.scales import Scales


def int8_parser(doc: str | None, name: str, parts: Sequence[str]) -> argparse.ArgumentParser:
    """See parser_of; with the parts of a measurement, and the folder of scales that are brought along."""
    parser = parser_of(doc, name)
    parser.add_argument("--parts", type=some_of(parts), default=",".join(parts), help="some of %(default)s")
    parser.add_argument("--scales", type=Path, help="a folder of MODEL.safetensors")
    return parser


def brought(folder: Path | None, model: str) -> Path | None:
    """The file of a model's scales in that folder, if it is there."""
    path = folder / f"{model}.safetensors" if folder else None
    return path if path and path.is_file() else None


def word_feeds(made: Export, shapes: Sequence[Profile]) -> dict[Profile, Tensors]:
    """What engines of a model are timed with: texts of random words."""
    return parity_feeds(made.spec, words(made.folder / "tokenizer.json", made.spec), shapes)


def int8_of(scales: Scales, timed: int | None = None) -> Int8:
    """For a build: with the figures that were sealed with the scales, or with none, where they were not gated yet."""
    return Int8(scales, judge=None if "gate" in scales.about else lambda *_: (), timed=timed)


def written_whole(path: Path, text: str) -> None:
    """Writes a file at once: processes beside this one read it, too."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def beside(work: Path) -> list[str]:
    """What somebody has to tell of a run, such as what else ran on the machine: lines of beside.txt in its folder."""
    path = work / "beside.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def choice_rows(section: str, manifest: Manifest, base: str) -> Iterator[Row]:
    """What `auto` chose at every shape, by which times, beside the precision that is not INT8."""
    for choice in manifest.choices:
        case = f"{section}/{choice.profile}"
        yield from (Row(case, precision, value, "ms") for precision, value in choice.times.items())
        yield Row(case, "runs in INT8", float(choice.precision == INT8), "")
        if choice.times:
            chosen = choice.times.get(f"{base}+{INT8}", choice.times[choice.precision])  # as it runs beside the others
            yield Row(case, f"chosen / {base}", chosen / choice.times[base], "x")
