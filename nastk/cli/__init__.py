"""The command line: every module parses, makes one call to the library, and renders."""

from __future__ import annotations

from nastk.cli.group import cli, main

__all__ = ["cli", "main"]
