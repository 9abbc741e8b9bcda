"""Faults of evaluators: each breaks the law that it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import evolve

from nastk.testing.contracts import EvaluatorContract
from nastk.testing.tiny import TinyEvaluator
from tests.testing.contracts.conftest import cases, caught, component


class Advancing(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        return super()._brightness(candidate, randomness) + randomness.numpy("eval").normal()


class Counting(TinyEvaluator):
    calls = 0

    def _brightness(self, candidate: Any, randomness: Any) -> float:
        Counting.calls += 1
        return float(Counting.calls)


class Undeclared(TinyEvaluator):
    metrics: Mapping[str, Any] = {"rating": "minimise"}

    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        found = super()._evaluate(candidate, split, randomness)
        metric = evolve(found.metrics["rating"], name="beauty")
        return evolve(found, metrics={**found.metrics, "beauty": metric})


class NotANumber(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        return math.nan


class Cardless(TinyEvaluator):
    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        return super()._evaluate(candidate, "train", randomness)


class Backwards(TinyEvaluator):
    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> Any:
        return super().evaluate(candidates, split, randomness)[::-1]


class Misses(TinyEvaluator):
    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> Any:
        return super().evaluate(candidates[:1], split, randomness)


class Tensors(TinyEvaluator):
    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        found = super()._evaluate(candidate, split, randomness)
        return evolve(found, arrays={"probe": torch.ones(4)})


class LeavesTraining(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        value = super()._brightness(candidate, randomness)
        candidate.generator.train()
        return value


class Greedy(TinyEvaluator):
    def __init__(self, config: Any = None, *, dataset: Any, device: str) -> None:
        super().__init__(config, dataset=dataset, device=device)
        self.dataset = dataset

    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        self.dataset.split(split)
        return super()._evaluate(candidate, split, randomness)


class Host(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        with torch.no_grad():
            return float(candidate.generator(torch.zeros(2, *candidate.space.input.shape)).mean())


@cases(
    ("measuring_twice_gives_the_same_and_advances_nothing", Advancing),
    ("measuring_twice_gives_the_same_and_advances_nothing", Counting),
    ("every_metric_is_declared_with_its_direction", Undeclared),
    ("every_metric_is_declared_with_its_direction", NotANumber),
    ("every_number_carries_its_protocol", Cardless),
    ("a_batch_is_answered_in_order", Backwards),
    ("a_batch_is_answered_in_order", Misses),
    ("evaluations_survive_json", Tensors),
    ("networks_stay_as_they_are", LeavesTraining),
    ("images_that_are_not_finite_are_a_failed_candidate", NotANumber),
    ("the_test_split_serves_a_whole_batch", Greedy),
    ("it_measures_on_the_device", Host),
)
def test_faults_of_evaluators_are_caught(name: str, factory: type) -> None:
    caught(EvaluatorContract, name, component("evaluator", factory))
