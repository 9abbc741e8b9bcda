"""What every evaluator promises."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import evolve

from nastk.assembly import World
from nastk.errors import TrialError
from nastk.evaluator import Candidate
from nastk.randomness import Randomness
from nastk.records import Evaluation, canonical_json, from_json, to_json
from nastk.registry import Component
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.contracts.space import ROLES
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import differences, untouched_randomness


class EvaluatorContract(ComponentContract):
    """Laws of evaluators and predictors; candidates are untrained pairs.

    Attributes:
        count: candidates that are measured.
    """

    kind: ClassVar[str] = "evaluator"
    count: ClassVar[int] = 3

    def candidates(self, world: World) -> list[Candidate]:
        """Return candidates of the world's space, with networks if the evaluator looks at them."""
        space, trainer = world.search.space, world.search.trainer
        rng = np.random.default_rng(2)
        found: list[Candidate] = []
        while len(found) < self.count:
            architecture = space.sample(rng)
            if any(c.architecture == architecture for c in found):
                continue
            candidate = Candidate(architecture, space, weights="live")
            if world.search.evaluator.builds:
                draws = Randomness(len(found), world.search.device)
                networks = [trainer.build(space, r, architecture.choices, draws) for r in ROLES]
                candidate.generator, candidate.discriminator = (n.eval() for n in networks)
            found.append(candidate)
        return found

    def measured(self, world: World, candidates: list[Candidate]) -> list[Evaluation]:
        """Return what the evaluator says on the validation split."""
        search = world.search
        return search.evaluator.evaluate(candidates, "validation", search.randomness)

    # -- laws ----------------------------------------------------------------------------------

    def test_measuring_twice_gives_the_same_and_advances_nothing(
        self, component: Component
    ) -> None:
        """Neither streams nor global generators move, in any process with this seed."""
        world = self.world(component)
        candidates = self.candidates(world)
        before = world.search.randomness.state_dict()
        with untouched_randomness():
            first = self.measured(world, candidates)
            second = self.measured(world, candidates)
        other = self.world(component)
        third = self.measured(other, self.candidates(other))
        assert differences(before, world.search.randomness.state_dict()) == []
        assert documents(first) == documents(second) == documents(third)

    def test_every_metric_is_declared_with_its_direction(self, component: Component) -> None:
        """What strategies rank by is known before anything is measured."""
        world = self.world(component)
        declared = world.search.evaluator.metrics
        for evaluation in self.measured(world, self.candidates(world)):
            assert evaluation.metrics, "nothing is measured"
            for name, metric in evaluation.metrics.items():
                assert metric.name == name
                assert metric.direction == declared.get(name), f"'{name}' is not declared so"
                assert metric.value is None or math.isfinite(metric.value), name

    def test_every_number_carries_its_protocol(self, component: Component) -> None:
        """The card names the split where images were compared, and the weights measured."""
        world = self.world(component)
        for evaluation in self.measured(world, self.candidates(world)):
            for name, metric in evaluation.metrics.items():
                card = metric.card
                assert card.split in ("", "validation"), name
                assert card.split or not card.n_real, f"'{name}' used real images of no split"
                if world.search.evaluator.builds:  # a predictor measures none of the candidate's
                    assert card.weights_kind in ("", "live"), name
            cards = {to_text(m.card) for m in evaluation.metrics.values()}
            assert cards
        for name in world.search.evaluator.metrics:
            found = {to_text(e.metrics[name].card)
                     for e in self.measured(world, self.candidates(world))
                     if name in e.metrics}  # fmt: skip
            assert len(found) <= 1, f"'{name}' has unlike cards within one batch"

    def test_a_batch_is_answered_in_order(self, component: Component) -> None:
        """One evaluation each; unless it judges them together, each as if it were alone."""
        world = self.world(component)
        candidates = self.candidates(world)
        batch = documents(self.measured(world, candidates))
        assert len(batch) == len(candidates)
        if not world.search.evaluator.together:
            assert documents(self.measured(world, candidates[::-1]))[::-1] == batch
            assert [documents(self.measured(world, [c]))[0] for c in candidates] == batch
        assert self.measured(world, []) == []

    def test_evaluations_survive_json(self, component: Component) -> None:
        """They stand in the run folder."""
        world = self.world(component)
        for evaluation in self.measured(world, self.candidates(world)):
            document = json.loads(canonical_json(to_json(evaluation)))
            assert documents([from_json(Evaluation, document)]) == documents([evaluation])

    def test_networks_stay_as_they_are(self, component: Component) -> None:
        """Weights, statistics and modes."""
        world = self.world(component)
        candidates = self.candidates(world)
        before = [_networks_of(c) for c in candidates]
        self.measured(world, candidates)
        assert differences(before, [_networks_of(c) for c in candidates]) == []

    def test_images_that_are_not_finite_are_a_failed_candidate(self, component: Component) -> None:
        """They raise ``TrialError``, unless nothing that is measured depends on them."""
        world = self.world(component)
        candidate = self.candidates(world)[0]
        if candidate.generator is None:
            return
        with torch.no_grad():
            for parameter in candidate.generator.parameters():
                parameter.fill_(math.nan)
        try:
            (found,) = self.measured(world, [candidate])
        except TrialError:
            return
        values = [m.value for m in found.metrics.values()]
        assert all(v is None or math.isfinite(v) for v in values), values

    def test_the_test_split_serves_a_whole_batch(self, component: Component) -> None:
        """It opens once; the cards say that it was the one."""
        world = self.world(component)
        search = world.search
        found = search.evaluator.evaluate(self.candidates(world), "test", search.randomness)
        assert len(found) == self.count
        assert {m.card.split for e in found for m in e.metrics.values()} <= {"", "test"}

    def test_it_measures_on_the_device(self, component: Component) -> None:
        """On pretend CUDA: images, features and draws are where they are used."""
        with pretend_cuda():
            world = self.world(component, device="cuda:0")
            assert self.measured(world, self.candidates(world))


def documents(evaluations: list[Evaluation]) -> list[str]:
    """Return what evaluations hold, as text; seconds are left out."""
    return [canonical_json(to_json(evolve(e, metrics=_timeless(e)))) for e in evaluations]


def to_text(record: Any) -> str:
    """Return the canonical JSON of a record."""
    return canonical_json(to_json(record))


def _timeless(evaluation: Evaluation) -> dict[str, Any]:
    return {n: m for n, m in evaluation.metrics.items() if not n.endswith(("_ms", "seconds"))}


def _networks_of(candidate: Candidate) -> list[Any]:
    networks = [n for n in (candidate.generator, candidate.discriminator) if n is not None]
    return [
        [{k: v.clone() for k, v in n.state_dict().items()}, [m.training for m in n.modules()]]
        for n in networks
    ]
