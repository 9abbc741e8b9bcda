"""The blockwise strategy keeps the contract of strategies."""

import pytest

from nastk.testing.contracts import StrategyContract
from nastk_blockwise import register_components


class TestBlockwise(StrategyContract):
    settings = {  # noqa: RUF012
        "warm_steps": 1,
        "unit_steps": 1,
        "finetune_steps": 1,
        "rate_first": 2,
        "rate_uniform": 2,
        "rate_mutations": 1,
        "rate_images": 8,
        "recalibrate_batches": 1,
        "delta": 0.0,
    }
    refused = ({"beam": 0}, {"rating_mode": "guess"})

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "strategy")
