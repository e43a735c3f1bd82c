"""The instruments of one process, and the sum of all processes in the one that supervises them."""

import threading
from bisect import bisect_left

import msgspec

from millirank.errors import MillirankError

from . import families as f
from .families import FAMILIES, Family, Key, Kind

Values = list[int | float]  # of a series; Family.width numbers
OWN = ""  # stands for the recording process, which does not know its name, in labels called process
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[Key, Values])


class Metrics:
    """Counters, histograms and gauges; every method may be called from any thread and takes a microsecond or two.

    Each process has its own and sends its deltas to the supervisor, whose Metrics adds them up: counters and histograms
    keep what a dead process has sent, gauges stay one a process until forget.

    Args:
        process: the name of this process, where its own gauges are read without being merged.
    """

    def __init__(self, process: str = "server") -> None:
        self.process = process
        self._lock = threading.Lock()  # guards the three below
        self._totals: dict[Key, Values] = {key: [0] for key in f.ZEROS}
        self._sent: dict[Key, Values] = {}  # the totals at the last deltas()

    def answered(self, method: str, status: str, first: float | None, final: float) -> None:
        """A query ended.

        Args:
            method: of the service, such as Search.
            status: the name of its gRPC status, such as OK.
            first: seconds from arrival to the first message; None if there was none.
            final: seconds from arrival to the final message or status.
        """
        with self._lock:
            self._count((_REQUESTS, method, status))
            self._observe((_FINAL, method, status), f.TIME_BOUNDS, final)
            if first is not None:
                self._observe((_FIRST, method, status), f.TIME_BOUNDS, first)

    def ranked(self, depth: int, degraded: str | None) -> None:
        """A final order left: how many candidates were reranked, and the name of its Degraded, if any."""
        with self._lock:
            self._observe((_DEPTH,), f.DEPTH_BOUNDS, depth)
            if degraded is not None:
                self._count((_DEGRADED, degraded))

    def refused(self, reason: str) -> None:
        """A query was refused at once; the reason of its MillirankError."""
        with self._lock:
            self._count((_REFUSED, reason))

    def queued(self, lane: str, seconds: float) -> None:
        """A request to an engine left its queue."""
        with self._lock:
            self._observe((_QUEUED, lane), f.TIME_BOUNDS, seconds)

    def ran(self, lane: str, requests: int, sequences: int, tokens: int, padded: int, seconds: float) -> None:
        """A batch ran.

        Args:
            lane: encode or rerank.
            requests: in the batch.
            sequences: queries or pairs that were run for them.
            tokens: of these sequences.
            padded: tokens that the engine ran, padding included: the sum of batch x length over its calls.
            seconds: of engine time.
        """
        with self._lock:
            self._observe((_BATCH_REQUESTS, lane), f.REQUEST_BOUNDS, requests)
            self._observe((_BATCH_SEQUENCES, lane), f.SEQUENCE_BOUNDS, sequences)
            self._observe((_BATCH_TOKENS, lane), f.TOKEN_BOUNDS, padded)
            self._observe((_ENGINE, lane), f.TIME_BOUNDS, seconds)
            self._count((_VALID_TOKENS, lane), tokens)
            self._count((_PADDED_TOKENS, lane), padded)

    def overran(self, lane: str) -> None:
        """A result came too late and was not used."""
        with self._lock:
            self._count((_OVERRUNS, lane))

    def lagged(self, seconds: float) -> None:
        """One sample of the event loop's lag."""
        with self._lock:
            self._observe((_LAG, OWN), f.TIME_BOUNDS, seconds)
            self._count((_STALLS, OWN), int(seconds > f.STALL))

    def restarted(self, process: str) -> None:
        """The supervisor started a process again."""
        with self._lock:
            self._count((_RESTARTS, process))

    def alive(self, process: str, up: bool) -> None:  # noqa: FBT001 - a gauge's value
        """The supervisor saw a process run, or die."""
        with self._lock:
            self._totals[_UP, process] = [int(up)]
            self._count((_RESTARTS, process), 0)

    def inflight(self, n: int) -> None:
        """So many queries are accepted and not ended."""
        with self._lock:
            self._totals[_INFLIGHT, OWN] = [n]

    def drifted(self, lengths: str, index: float) -> None:
        """The sampled traffic of this process is so far from what the engines are for; query, pair or depth."""
        with self._lock:
            self._totals[_DRIFT, lengths, OWN] = [index]

    def sampled(self, population: int) -> None:
        """The sample of this process is drawn from so many queries of this day."""
        with self._lock:
            self._totals[_POPULATION, OWN] = [population]

    def deltas(self) -> bytes:
        """What changed since the last call, for merge in another process; empty if nothing did."""
        changed: dict[Key, Values] = {}
        with self._lock:
            for key, values in self._totals.items():
                sent = self._sent.get(key)
                if values == sent:
                    continue
                if sent is None or FAMILIES[key[0]].kind is Kind.GAUGE:
                    changed[key] = values.copy()
                else:
                    changed[key] = [now - then for now, then in zip(values, sent, strict=True)]
                self._sent[key] = values.copy()
        return _encoder.encode(changed) if changed else b""

    def merge(self, process: str, deltas: bytes) -> None:
        """Adds what another process recorded.

        Args:
            process: the sender's name, such as frontend-1.
            deltas: of the sender; each is merged once, in any order but for gauges, whose last value stays.

        Raises:
            MillirankError: if these are no deltas of this version; nothing of them is merged.
        """
        if not deltas:
            return
        fresh = _decoded(process, deltas)
        with self._lock:
            for key, values in fresh.items():
                total = self._totals.get(key)
                if total is None or FAMILIES[key[0]].kind is Kind.GAUGE:
                    self._totals[key] = values
                else:
                    total[:] = [old + new for old, new in zip(total, values, strict=True)]

    def forget(self, process: str) -> None:
        """Drops the gauges of a process that has died or gone; what it counted stays.

        Call it after the last of its deltas, and before alive if its death shall be seen.
        """
        with self._lock:
            for key in [key for key in self._totals if _is_gauge_of(process, key)]:
                del self._totals[key]
                self._sent.pop(key, None)

    def read(self) -> dict[Key, Values]:
        """A copy of every series, as of one moment."""
        with self._lock:
            return {_named(key, self.process): values.copy() for key, values in self._totals.items()}

    def _count(self, key: Key, n: int = 1) -> None:
        """Adds to a counter; the lock is held."""
        values = self._totals.get(key)
        if values is None:
            self._totals[key] = [n]
        else:
            values[0] += n

    def _observe(self, key: Key, bounds: tuple[float, ...], value: float) -> None:
        """Adds to a histogram; the lock is held."""
        values = self._totals.get(key)
        if values is None:
            values = self._totals[key] = [0] * (len(bounds) + 2)
        values[bisect_left(bounds, value)] += 1
        values[-1] += value


def _named(key: Key, process: str) -> Key:
    return tuple(process if part == OWN else part for part in key) if OWN in key else key


def _is_gauge_of(process: str, key: Key) -> bool:
    family = FAMILIES[key[0]]
    return family.kind is Kind.GAUGE and ("process", process) in zip(family.labels, key[1:], strict=True)


def _decoded(process: str, deltas: bytes) -> dict[Key, Values]:
    """Deltas as series of this version, in the name of their sender."""
    try:
        series = _decoder.decode(deltas)
        unknown = sorted({key[0] for key, values in series.items() if not _fits(FAMILIES.get(key[0]), key, values)})
    except (msgspec.DecodeError, IndexError) as error:
        raise MillirankError(f"{process} sent metrics that are none ({error}): {_RESTART}") from error
    if unknown:
        raise MillirankError(f"{process} sent metrics of another version ({', '.join(unknown)}): {_RESTART}")
    return {_named(key, process): values for key, values in series.items()}


def _fits(family: Family | None, key: Key, values: Values) -> bool:
    return family is not None and len(key) == 1 + len(family.labels) and len(values) == family.width


_RESTART = "restart `millirank serve`, so that all its processes are of one version"

_FIRST, _FINAL, _REQUESTS = f.FIRST.name, f.FINAL.name, f.REQUESTS.name
_QUEUED, _ENGINE, _OVERRUNS = f.QUEUED.name, f.ENGINE.name, f.OVERRUNS.name
_BATCH_REQUESTS, _BATCH_SEQUENCES, _BATCH_TOKENS = f.BATCH_REQUESTS.name, f.BATCH_SEQUENCES.name, f.BATCH_TOKENS.name
_VALID_TOKENS, _PADDED_TOKENS = f.VALID_TOKENS.name, f.PADDED_TOKENS.name
_DEPTH, _DEGRADED, _REFUSED = f.DEPTH.name, f.DEGRADED.name, f.REFUSED.name
_LAG, _STALLS = f.LAG.name, f.STALLS.name
_RESTARTS, _UP, _INFLIGHT = f.RESTARTS.name, f.UP.name, f.INFLIGHT.name
_DRIFT, _POPULATION = f.DRIFT.name, f.POPULATION.name
