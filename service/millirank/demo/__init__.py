"""The embedded demo: a shop's catalogue, queries and graded judgments, made by rule and the same everywhere."""

from millirank.demo.generator import products
from millirank.demo.judgments import judgments, queries
from millirank.demo.queries import DemoQuery
from millirank.demo.write import Paths, write

__all__ = ["DemoQuery", "Paths", "judgments", "products", "queries", "write"]
