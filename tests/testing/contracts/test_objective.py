"""Faults of objectives: each breaks the law that it is for."""

from __future__ import annotations

from typing import Any

import torch

from nastk.gan.objectives import Hinge
from nastk.testing.contracts import ObjectiveContract
from tests.testing.contracts.conftest import cases, caught, component


class Overflows(Hinge):
    def on_real(self, scores: Any, exchange: Any) -> Any:
        return -torch.sigmoid(100 * scores.validity).log().mean()


class PerImage(Hinge):
    def on_real(self, scores: Any, exchange: Any) -> Any:
        return -scores.validity.flatten(1).mean(1)


class NotSeparable(Hinge):
    def discriminator_terms(self, exchange: Any) -> Any:
        sides = [s for s in (exchange.real, exchange.fake) if s is not None]
        return {"all": torch.stack([s.validity.mean() for s in sides]).sum()}


class Detached(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        weight = torch.ones((), requires_grad=True)
        return {"adversarial": exchange.fake.validity.detach().mean() * weight}


class NeedsReal(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        return {"gap": exchange.real.validity.mean() - exchange.fake.validity.mean()}


class Sums(Hinge):
    def on_fake(self, scores: Any, exchange: Any) -> Any:
        return scores.validity.sum()


class InPlace(Hinge):
    def on_fake(self, scores: Any, exchange: Any) -> Any:
        scores.validity.detach().clamp_(-0.1, 0.1)
        return super().on_fake(scores, exchange)


class Averages(Hinge):
    mean = 0.0

    def on_real(self, scores: Any, exchange: Any) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * float(scores.validity.detach().mean())
        return (scores.validity.float() - self.mean).square().mean()


class LeftBehind(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        return {"adversarial": (exchange.fake.validity * torch.ones(1, 1)).mean()}


@cases(
    ("gradients_are_finite", Overflows),
    ("gradients_are_finite", PerImage),
    ("terms_are_named_scalars", PerImage),
    ("separable_terms_are_those_of_their_side", NotSeparable),
    ("generator_trains_through_the_generated_images", Detached),
    ("generator_trains_through_the_generated_images", NeedsReal),
    ("split_batches_have_the_same_mean", Sums),
    ("what_it_is_shown_stays_as_it_is", InPlace),
    ("state_survives_the_disk", Averages),
    ("it_trains_and_resumes_in_a_trainer", Averages),
    ("it_runs_on_the_device", LeftBehind),
)
def test_faults_of_objectives_are_caught(name: str, factory: type) -> None:
    caught(ObjectiveContract, name, component("objective", factory), NameError)
