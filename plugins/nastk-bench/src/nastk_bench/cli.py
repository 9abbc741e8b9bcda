"""``nastk bench``."""

from __future__ import annotations

import click


@click.group("bench")
def bench() -> None:
    """Build, question and describe the tabulated benchmark."""
