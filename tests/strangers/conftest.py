"""A folder with a small real file of every kind that a stranger may send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz import sampled
from nastk.registry import Registry


@pytest.fixture(scope="session")
def strangers() -> Iterator[tuple[Path, Registry]]:
    """Return the folder, to be left as it is, and the registry that knows what is in it."""
    with sampled() as found:
        yield found
