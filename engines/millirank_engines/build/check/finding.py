"""What a check finds: how bad, where, what, and what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

NAMED = 3  # places that a finding names


class Severity(StrEnum):
    """What a finding does, the worst first."""

    blocks = "blocks"  # no engine, or none that may serve
    slows = "slows"  # an engine that leaves speed behind
    risks = "risks"  # an engine that may answer wrongly


@dataclass(frozen=True)
class Finding:
    """One thing that will hurt."""

    severity: Severity
    where: str
    what: str
    fix: str


@dataclass
class Report:
    """All that was found of a model, and what it is."""

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def blocked(self) -> bool:
        """Whether anything blocks."""
        return any(f.severity == Severity.blocks for f in self.findings)

    def ordered(self) -> list[Finding]:
        """The findings, the worst first."""
        return sorted(self.findings, key=lambda f: list(Severity).index(f.severity))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"blocked": self.blocked, "facts": self.facts, "findings": [asdict(f) for f in self.ordered()]}


def places(names: Iterable[str]) -> str:
    """Names as one phrase: the first few, and how many there are in all."""
    listed: Sequence[str] = list(names)
    shown = ", ".join(listed[:NAMED])
    return shown if len(listed) <= NAMED else f"{shown} … ({len(listed)} in all)"
