"""Data files of the repository's root, which a wheel carries inside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def project_file(name: str) -> Path:
    """Where a file such as baseline.toml lies: in the installed package, else in the checkout that this runs from."""
    packaged = _PACKAGE / name
    return packaged if packaged.is_file() else _PACKAGE.parents[1] / name
