"""`python -m core.cli` is `hub`."""

from core.cli import main

main()
