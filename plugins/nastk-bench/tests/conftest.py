"""Fixtures shared by the tests of the benchmark: the space, and a made-up table of all members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from nastk.records import MetricCard
from nastk_bench.files import load, save
from nastk_bench.protocol import MEASURED, Protocol, nano_space
from nastk_bench.space import NanoSpace
from nastk_bench.table import STATUSES, Table

FAILING = 7
"""Row of a member all of whose trainings collapse after 40 steps."""


def made_table(seeds: int = 3) -> Table:
    """Return numbers drawn from a fixed seed; seeds differ by noise."""
    rng = np.random.Generator(np.random.PCG64(3))
    protocol, space = Protocol(), nano_space()
    members = space.members()
    m, f = len(members), len(protocol.fidelities)
    steps = np.broadcast_to(np.array(protocol.fidelities), (m, seeds, f)).copy()
    validation = rng.normal(size=(m, seeds, f, len(MEASURED))) * 0.1
    validation[..., 0] += 5 + rng.normal(size=m)[:, None, None]
    test = validation[:, :, -1] + 0.25
    status = np.zeros((m, seeds, f), np.int64)
    status[FAILING, :, 3:] = STATUSES.index("collapsed")
    steps[FAILING, :, 3:] = 40
    validation[FAILING, :, 3:], test[FAILING] = np.nan, np.nan
    card = MetricCard(extractor="made", weights="up", n_real=9, n_fake=500, weights_kind="ema")
    names = ("rating", *MEASURED, "parameters", "macs")
    return Table(
        protocol=protocol,
        cards={
            split: {name: evolve(card, split=split) for name in names}
            for split in ("validation", "test")
        },
        versions={"torch": "2"},
        codes=tuple(space.encode(a) for a in members),
        members={a.fingerprint: row for row, a in enumerate(members)},
        parameters=np.arange(m) + 100,
        macs=np.arange(m) + 1000,
        step_macs=np.arange(m) + 10_000,
        step_images=64,
        status=status,
        trained=steps,
        validation=validation.round(6),
        test=test.round(6),
        seconds=steps * 0.5,
        measuring=np.full((m, seeds, f), 0.25),
        hash="",
    )


@pytest.fixture(scope="session")
def space() -> NanoSpace:
    """The whole space of the table."""
    return nano_space()


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up table, on disk."""
    path = tmp_path_factory.mktemp("table") / "made.json.xz"
    save(made_table(), path)
    return path


@pytest.fixture(scope="session")
def table(table_file: Path) -> Table:
    """The made-up table, as it is read."""
    return load(table_file)


@pytest.fixture(scope="session")
def failing() -> int:
    """The row whose trainings collapse after 40 steps."""
    return FAILING
