"""`python -m core.cli` is `hub`."""

from core.cli import main

if __name__ == "__main__":
    main()
