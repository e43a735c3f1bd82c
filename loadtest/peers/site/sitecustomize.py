"""Lets every Python process that has this folder on its path serve with a peer's engines; see peers/service.py."""

import os
import sys
from pathlib import Path

if os.environ.get("MILLIRANK_PEER"):
    sys.path.append(str(Path(__file__).parent.parent.parent))
    from peers.service import install

    install(os.environ["MILLIRANK_PEER"])
