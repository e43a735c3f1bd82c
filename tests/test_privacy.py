import subprocess
import sys

WATCH = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in EVENTS else None)
import millirank.cli, millirank.server
from millirank_engines import openvino
import faiss, grpc, tantivy, tokenizers
print(sorted(set(seen)))
"""
EVENTS = ["os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"]


def test_loading_everything_starts_no_process_and_calls_nobody() -> None:
    script = WATCH.replace("EVENTS", repr(EVENTS))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
