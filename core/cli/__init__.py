"""The command line: `hub`. Each group of commands stands in a file of its own."""

from core.cli.app import main

__all__ = ["main"]
