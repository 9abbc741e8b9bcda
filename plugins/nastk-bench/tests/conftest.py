"""Fixtures shared by the tests of the benchmark."""

from __future__ import annotations

import pytest

from nastk_bench.protocol import nano_space
from nastk_bench.space import NanoSpace


@pytest.fixture(scope="session")
def space() -> NanoSpace:
    """The whole space of the table."""
    return nano_space()
