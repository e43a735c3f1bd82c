"""`python -m millirank`: the same as the `millirank` command."""

from .cli import main

main()
