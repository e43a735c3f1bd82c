"""A TensorRT plan built in a process of its own, which is ended when its time is over: TensorRT 10.6 has stood still.

The child logs all that TensorRT says, tactic by tactic, so that the last lines tell where it stood.
"""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from subjects import exact

from millirank_engines import EngineError
from millirank_engines.build.plan import Options, plan_from_onnx
from millirank_engines.manifest import parse_profile

LAST = 200  # lines of a log that are kept
TOLD = 160  # characters of its last one that a page has
PARENT_DIES = 1  # PR_SET_PDEATHSIG of Linux


@dataclass(frozen=True)
class Job:
    """What is built, and how long that may take."""

    onnx: Path
    buckets: Sequence[str]  # an optimization profile each
    out: Path  # the plan
    last: Path  # gets the end of the log
    timings: Path  # a timing cache, for all builds of this GPU
    level: int = 3  # of the builder's search
    limit: float = 100.0  # seconds


def built(job: Job) -> float:
    """Builds the plan; the seconds that it took.

    Raises:
        EngineError: if it failed or was ended, with TensorRT's last words.
    """
    job.out.parent.mkdir(parents=True, exist_ok=True)
    log, told = job.out.with_suffix(".log"), job.out.with_suffix(".json")
    told.write_text(json.dumps(vars(job), default=str), encoding="utf-8")
    begin, ended = time.monotonic(), ""
    with log.open("w", encoding="utf-8") as stderr:
        child = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, __file__, str(told)], stdout=stderr, stderr=stderr, start_new_session=True
        )
        try:
            child.wait(job.limit)
        except subprocess.TimeoutExpired:
            quiet = time.time() - log.stat().st_mtime
            ended = f"it was ended after {job.limit:.0f} s, of which it said nothing for {quiet:.0f}"
        finally:
            with suppress(ProcessLookupError):  # the child is done, and so are its own
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    seconds = time.monotonic() - begin
    with log.open(encoding="utf-8", errors="replace") as lines:
        last = list(deque((line.rstrip() for line in lines if line.strip()), LAST))
    job.last.parent.mkdir(parents=True, exist_ok=True)
    job.last.write_text("\n".join(last) + "\n", encoding="utf-8")
    if not ended and child.returncode == 0 and job.out.is_file():
        return seconds
    why = ended or f"it failed with code {child.returncode} after {seconds:.0f} s"
    raise EngineError(f"{why}; its last words: {last[-1][-TOLD:] if last else 'none'}; more in {job.last.name}")


def main() -> None:
    """The child, which does not outlive its parent."""
    ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(relativeCreated)d %(message)s")
    profiles, out = exact([parse_profile(text) for text in told["buckets"]]), Path(told["out"])
    plan = plan_from_onnx(
        Path(told["onnx"]),
        profiles,
        backend="tensorrt",
        options=Options(level=told["level"]),
        timing_cache=Path(told["timings"]),
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    part = out.with_suffix(".part")
    part.write_bytes(plan)
    part.replace(out)


if __name__ == "__main__":
    main()
