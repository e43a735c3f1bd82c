"""Makes the Python stubs from the protos; with --check, fails if the committed ones differ."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).parent
STUBS = PROTOS.parent / "service" / "millirank" / "v1"


def generate(out: Path) -> Path:
    """Runs protoc with type hints for messages (.pyi) and services (mypy-protobuf); returns the folder of the stubs."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    plugin = Path(sys.executable).parent / "protoc-gen-mypy_grpc"
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--plugin=protoc-gen-mypy_grpc={plugin}"]
    subprocess.run([*command, *outputs, *sources], check=True)  # noqa: S603 - our own arguments
    return out / "millirank" / "v1"


def same(made: Path, committed: Path) -> bool:
    """Whether two files hold the same bytes; a missing one differs."""
    return committed.exists() and committed.read_bytes() == made.read_bytes()


def main() -> None:
    """Writes or checks the stubs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the committed stubs differ")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        stale = [p.name for p in made.iterdir() if not same(p, STUBS / p.name)]
        if check and stale:
            sys.exit(f"stale stubs: {', '.join(sorted(stale))}: run `make proto` and commit the result")
        if not check:
            for path in made.iterdir():
                (STUBS / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
