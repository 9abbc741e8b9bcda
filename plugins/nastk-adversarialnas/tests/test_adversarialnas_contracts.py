"""The differentiable strategy keeps the contract of strategies."""

import pytest

from nastk.testing.contracts import StrategyContract
from nastk_adversarialnas import register_components


class TestAdversarial(StrategyContract):
    settings = {"steps": 2, "steps_per_chunk": 1, "derive_every": 1}  # noqa: RUF012
    refused = ({"tau_max": 0.0}, {"logits": "none"})

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "strategy")
