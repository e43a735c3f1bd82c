"""The tables of all departments, read once."""

from millirank.demo import audio, clothing, computing, garden, home, kitchen, outdoor, phones, sport, toys
from millirank.demo.kinds import Kind, parse

TABLES = (phones, audio, computing, home, kitchen, clothing, outdoor, sport, garden, toys)
KINDS: tuple[Kind, ...] = tuple(kind for table in TABLES for kind in parse(table.TABLE))
