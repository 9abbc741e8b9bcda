"""What every executor promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import evolve

from nastk.executor import Executor, InProcess
from nastk.records import Budget, to_json
from nastk.registry import Component
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.workbench import differences


def square(number: int) -> int:
    """Return the square; a function that other processes can import."""
    return number * number


def stumble(number: int) -> int:
    """Return the number, unless it is 2.

    Raises:
        ValueError: it is 2.
    """
    if number == 2:
        raise ValueError("two is too many")
    return number


class ExecutorContract(ComponentContract):
    """Laws of executors."""

    kind: ClassVar[str] = "executor"

    @contextmanager
    def executor(self, component: Component) -> Iterator[Executor]:
        """Lend an executor of a run that was just put together."""
        executor = self.world(component).search.executor
        try:
            yield executor
        finally:
            executor.close()

    def test_results_come_in_the_order_of_the_tasks(self, component: Component) -> None:
        """Whichever is done first; any number of times."""
        with self.executor(component) as executor:
            for count in (5, 0, 1):
                assert list(executor.map(square, range(count))) == [n * n for n in range(count)]

    def test_every_submitted_task_is_collected_once(self, component: Component) -> None:
        """In any order; and not after the executor was closed."""
        with self.executor(component) as executor:
            for number in range(3):
                executor.submit(square, number)
            found = [executor.collect() for _ in range(3)]
            assert sorted(found) == [(n, n * n) for n in range(3)]
            executor.submit(square, 7)
            executor.close()
            executor.submit(square, 2)
            assert executor.collect() == (2, 4)

    def test_what_a_task_raises_reaches_the_caller(self, component: Component) -> None:
        """With its type and message, and the executor serves on."""
        with self.executor(component) as executor:
            with pytest.raises(ValueError, match="two is too many"):
                list(executor.map(stumble, range(4)))
            assert list(executor.map(stumble, [5])) == [5]

    def test_candidates_come_out_as_in_this_process(self, component: Component) -> None:
        """Trained and measured to the same bits, failed ones too, at the same cost."""
        ends: list[Any] = []
        for executor in (None, InProcess()):
            search = self.world(component, **{"evaluator.failing": True}).search
            search.executor = executor or search.executor
            rng = np.random.default_rng(0)
            architectures = [search.space.sample(rng) for _ in range(4)]
            trials = search.evaluate(architectures, Budget(2))
            search.executor.close()
            ends.append([to_json(evolve(t, cost=evolve(t.cost, seconds=0.0))) for t in trials])
        assert differences(*ends) == []
