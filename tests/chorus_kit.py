"""What the tests on Chorus share."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from millirank.evaluation import Judgments

DEPTH = 50  # candidates that are reranked
FIGURES = pytest.StashKey[list[str]]()  # what the run says about relevance at its end


@dataclass(frozen=True)
class ChorusShop:
    """The data set, indexed with the default models."""

    index: Path
    judgments: Judgments  # of the queries for which some product is right
    titles: dict[str, str]  # of four products by id, which no other product has
