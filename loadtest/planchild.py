"""A TensorRT plan built in a process of its own, which is ended when it stands still: TensorRT 10.6 has done that.

The child logs all that TensorRT says, tactic by tactic, so that the last lines tell where it stood.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from subjects import exact

from millirank_engines import EngineError
from millirank_engines.build.plan import Options, plan_from_onnx
from millirank_engines.manifest import parse_profile

LAST = 40  # lines of a log that are kept of a build that was ended
TOLD = 160  # characters of its last one that a page has
TICK = 0.1  # seconds


@dataclass(frozen=True)
class Job:
    """What is built, and how long that may take."""

    onnx: Path
    buckets: Sequence[str]  # an optimization profile each
    out: Path  # the plan
    timings: Path  # a timing cache, for all builds of this GPU
    level: int = 3  # of the builder's search
    limit: float = 100.0  # seconds
    still: float = 45.0  # seconds without a line of its log
    backend: str = "tensorrt"
    capabilities: tuple[tuple[int, int], ...] = ()  # of TensorRT-RTX


def built(job: Job) -> float:
    """Builds the plan; the seconds that it took.

    Raises:
        EngineError: if it failed or was ended, with TensorRT's last words; more of them lie in OUT.log.
    """
    job.out.parent.mkdir(parents=True, exist_ok=True)
    log, told = job.out.with_suffix(".log"), job.out.with_suffix(".json")
    log.write_text("", encoding="utf-8")
    told.write_text(json.dumps(vars(job), default=str), encoding="utf-8")
    begin = time.monotonic()
    with log.open("a", encoding="utf-8") as stderr:
        child = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, __file__, str(told)], stdout=stderr, stderr=stderr, start_new_session=True
        )
        ended = _watched(child, job, log, begin)
    seconds = time.monotonic() - begin
    if not ended and child.returncode == 0 and job.out.is_file():
        return seconds
    with log.open(encoding="utf-8", errors="replace") as lines:
        last = deque((line.rstrip() for line in lines if line.strip()), LAST)
    log.with_suffix(".last.log").write_text("\n".join(last) + "\n", encoding="utf-8")
    why = ended or f"it failed with code {child.returncode} after {seconds:.0f} s"
    raise EngineError(f"{why}; its last words: {last[-1][-TOLD:] if last else 'none'}")


def _watched(child: "subprocess.Popen[bytes]", job: Job, log: Path, begin: float) -> str:
    """Waits for the child, and ends it where it must be; says why then."""
    try:
        while child.poll() is None:
            time.sleep(TICK)
            now, quiet = time.monotonic() - begin, time.time() - log.stat().st_mtime
            if now > job.limit:
                return f"it was ended after {now:.0f} s"
            if quiet > job.still:
                return f"it was ended after {now:.0f} s, of which it stood still for {quiet:.0f}"
        return ""
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def main() -> None:
    """The child."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(relativeCreated)d %(message)s")
    options = Options(level=told["level"], capabilities=tuple(map(tuple, told["capabilities"])))
    profiles, out = exact([parse_profile(text) for text in told["buckets"]]), Path(told["out"])
    plan = plan_from_onnx(
        Path(told["onnx"]),
        profiles,
        backend=told["backend"],
        options=options,
        timing_cache=Path(told["timings"]) if told["backend"] == "tensorrt" else None,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    part = out.with_suffix(".part")
    part.write_bytes(plan)
    part.replace(out)


if __name__ == "__main__":
    main()
