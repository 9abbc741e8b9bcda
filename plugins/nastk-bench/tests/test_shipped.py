"""The table that is shipped: whole, small, of this space, and described by its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nastk_bench.datasheet import datasheet
from nastk_bench.files import MAX_PACKED, SHIPPED, shipped
from nastk_bench.protocol import Protocol
from nastk_bench.scoring import columns_of
from nastk_bench.space import NanoSpace
from nastk_bench.statistics import between_seeds
from nastk_bench.table import Table

PAGE = Path(__file__).parents[3] / "docs" / "nano.md"


@pytest.fixture(scope="module")
def real() -> Table:
    return shipped()


def test_every_member_has_its_row_and_no_other_has_one(real: Table, space: NanoSpace) -> None:
    members = {a.fingerprint: space.encode(a) for a in space.members()}
    assert dict(zip(real.members, real.codes, strict=True)) == members


def test_the_table_is_of_this_protocol_and_of_three_seeds_at_least(real: Table) -> None:
    assert real.protocol == Protocol()
    assert real.seeds >= 3
    assert SHIPPED.stat().st_size <= MAX_PACKED


def test_trainings_that_did_not_fail_are_measured_throughout(real: Table) -> None:
    ok = real.status == 0
    assert not np.isnan(real.validation[ok]).any()
    assert not np.isnan(real.test[ok[:, :, -1]]).any()
    assert (real.trained[ok] == np.broadcast_to(real.protocol.fidelities, ok.shape)[ok]).all()


def test_networks_without_any_path_fail_with_every_seed(real: Table, space: NanoSpace) -> None:
    for member in space.members()[:3]:
        row = real.row(member)
        assert all(real.failed_at(row, seed) is not None for seed in range(real.seeds))


def test_there_is_something_to_be_found(real: Table) -> None:
    assert between_seeds(real.scores()) > 0.3


def test_the_page_is_the_one_that_the_table_makes(real: Table) -> None:
    assert PAGE.read_text() == datasheet(real, columns_of(real))
