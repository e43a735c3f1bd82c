"""How good an order is: judgments and segments of them, scores with intervals, paired comparisons."""

from .comparison import Comparison, compare, compare_spellings, paired, randomization
from .folds import cross_validated, fold, joined, part_of
from .judgments import ALL, Judgments, Segment, read_judgments, read_segments, write_segments
from .scores import MEASURES, Run, Scores, answered, score

__all__ = [
    "ALL",
    "MEASURES",
    "Comparison",
    "Judgments",
    "Run",
    "Scores",
    "Segment",
    "answered",
    "compare",
    "compare_spellings",
    "cross_validated",
    "fold",
    "joined",
    "paired",
    "part_of",
    "randomization",
    "read_judgments",
    "read_segments",
    "score",
    "write_segments",
]
