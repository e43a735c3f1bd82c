"""What a script asks of the machine before it begins."""

import platform
import sys


def linux(why: str) -> None:
    """Ends the script on another system; why says what is read there, such as /proc."""
    if platform.system() != "Linux":
        sys.exit(f"{sys.argv[0]} needs Linux, it reads {why}: run it there, or in a Linux container")
