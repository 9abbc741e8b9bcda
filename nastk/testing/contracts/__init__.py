"""Contract suites: what every component of a kind promises, as test classes to subclass.

Each asks for one fixture, the registered component, and small settings to try it with::

    class TestCoin(StrategyContract):
        settings = {"candidates": 6, "steps": 2}

        @pytest.fixture
        def component(self):
            return register_components()[0]

Components are made the way that nastk makes them, among tiny ones (:mod:`nastk.testing.tiny`).
A space of your own can be held to :class:`nastk.testing.laws.GrowthLaw` as well.
"""

import pytest

_SUITES = ("component", "dataset", "evaluator", "executor", "network_pass", "objective", "space",
           "strategy", "trainer")  # fmt: skip
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _SUITES))

from nastk.testing.contracts.component import ComponentContract  # noqa: E402
from nastk.testing.contracts.dataset import DatasetContract  # noqa: E402
from nastk.testing.contracts.evaluator import EvaluatorContract  # noqa: E402
from nastk.testing.contracts.executor import ExecutorContract  # noqa: E402
from nastk.testing.contracts.network_pass import PassContract  # noqa: E402
from nastk.testing.contracts.objective import ObjectiveContract  # noqa: E402
from nastk.testing.contracts.space import SpaceContract  # noqa: E402
from nastk.testing.contracts.strategy import StrategyContract  # noqa: E402
from nastk.testing.contracts.trainer import TrainerContract  # noqa: E402

__all__ = [
    "ComponentContract",
    "DatasetContract",
    "EvaluatorContract",
    "ExecutorContract",
    "ObjectiveContract",
    "PassContract",
    "SpaceContract",
    "StrategyContract",
    "TrainerContract",
]
