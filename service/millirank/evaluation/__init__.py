"""How good an order is: judgments and segments of them, scores with intervals, paired comparisons."""

from .judgments import Judgments, Segment, read_judgments, read_segments, write_segments
from .scores import MEASURES, Comparison, Run, Scores, compare, score

__all__ = [
    "MEASURES",
    "Comparison",
    "Judgments",
    "Run",
    "Scores",
    "Segment",
    "compare",
    "read_judgments",
    "read_segments",
    "score",
    "write_segments",
]
