"""What the first core of a device measured at its warm-up, kept for those that are started after it dies."""

from pathlib import Path

import msgspec

from millirank.costs import CostTable
from millirank.stack import Costs
from millirank_engines.manifest import parse_profile


class _Measured(msgspec.Struct, frozen=True):
    encoder: dict[str, float]  # seconds, by profile
    reranker: dict[str, float]


def save_costs(path: Path, costs: Costs) -> None:
    """Writes the tables, atomically."""
    encoder, reranker = ({str(profile): cost for profile, cost in table.seconds.items()} for table in costs)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(_Measured(encoder, reranker)))
    fresh.replace(path)


def saved_costs(path: Path) -> Costs | None:
    """What save_costs wrote; None if it was never called."""
    if not path.exists():
        return None
    measured = msgspec.json.decode(path.read_bytes(), type=_Measured)
    return _table(measured.encoder), _table(measured.reranker)


def _table(seconds: dict[str, float]) -> CostTable:
    return CostTable({parse_profile(profile): cost for profile, cost in seconds.items()})
