"""Faults of executors: each breaks the law that it is for."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from nastk.executor import InProcess
from nastk.records import Cost
from nastk.testing.contracts import ExecutorContract
from tests.testing.contracts.conftest import cases, caught, component


class Reversed(InProcess):
    def __init__(self, config: None = None) -> None:
        pass

    def map(self, function: Any, tasks: Any) -> Any:
        return iter([function(t) for t in reversed(list(tasks))])


class Swallows(Reversed):
    def map(self, function: Any, tasks: Any) -> Any:
        for task in tasks:
            try:
                yield function(task)
            except ValueError:
                yield None


class Repeats(Reversed):
    def close(self) -> None:
        pass


class RunsTwice(Reversed):
    def map(self, function: Any, tasks: Any) -> Any:
        for task in tasks:
            found = function(task)
            cost = getattr(getattr(found, "trial", None), "cost", None)
            if isinstance(cost, Cost):
                found = evolve(found, trial=evolve(found.trial, cost=cost + cost))
            yield found


@cases(
    ("results_come_in_the_order_of_the_tasks", Reversed),
    ("every_submitted_task_is_collected_once", Repeats),
    ("what_a_task_raises_reaches_the_caller", Swallows),
    ("candidates_come_out_as_in_this_process", RunsTwice),
)
def test_faults_of_executors_are_caught(name: str, factory: type) -> None:
    caught(ExecutorContract, name, component("executor", factory))
