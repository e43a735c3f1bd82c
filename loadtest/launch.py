"""A server under test: started, its processes found, stopped."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millirank.loadtest.channel import Target
from millirank.loadtest.scrape import INFLIGHT, NoMetrics, scrape, total

READY = 180  # seconds that a start may take
FRONTEND, CORE = "millirank.processes.frontend", "millirank.processes.corehost"  # in the command lines of children


@dataclass(frozen=True)
class Launched:
    """A server that is SERVING."""

    target: Target
    pid: int
    metrics: str | None  # URL

    def child(self, module: str) -> psutil.Process:
        """The first child process that runs a module.

        Raises:
            LookupError: if there is none.
        """
        for process in psutil.Process(self.pid).children(recursive=True):
            if module in process.cmdline():
                return process
        raise LookupError(f"no process below {self.pid} runs {module}: does this server know --frontends?")

    def inflight(self, within: float = 10.0) -> float:
        """Accepted queries that have not ended, after waiting for 0; -1 without metrics."""
        until, left = time.monotonic() + within, -1.0
        while self.metrics is not None and time.monotonic() < until:
            try:
                left = total(scrape(self.metrics), INFLIGHT)
            except NoMetrics:
                left = -1.0
            if left == 0:
                break
            time.sleep(0.5)
        return left


@contextmanager
def launch(index: Path, port: int, metrics_port: int, options: Sequence[str] = ()) -> Iterator[Launched]:
    """A server of this checkout; metrics_port 0 leaves metrics out.

    Raises:
        RuntimeError: if it ends, or is not SERVING in time.
    """
    command = [sys.executable, "-m", "millirank", "serve", "--index", str(index), "--port", str(port), *options]
    command += ["--metrics-port", str(metrics_port)]
    print("  starting", " ".join(command[1:]), flush=True)
    process = subprocess.Popen(command)  # noqa: S603 - our own arguments
    try:
        target = Target(f"127.0.0.1:{port}")
        wait_serving(target, process)
        yield Launched(target, process.pid, f"http://127.0.0.1:{metrics_port}/metrics" if metrics_port else None)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for left in psutil.wait_procs(children, timeout=5)[1]:
            print("  left behind:", left.pid, flush=True)
            left.kill()


def wait_serving(target: Target, process: "subprocess.Popen[bytes]") -> None:
    """Returns when health says SERVING."""
    until = time.monotonic() + READY
    with grpc.insecure_channel(target.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < until:
            try:
                if stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status == 1:
                    return
            except grpc.RpcError:
                if process.poll() is not None:
                    raise RuntimeError("the server ended at its start: see its messages above") from None
            time.sleep(0.02)
    raise RuntimeError(f"the server was not SERVING within {READY} s")
