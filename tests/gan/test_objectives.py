from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nastk.errors import ConfigError, PairError
from nastk.gan.config import SemiSupervisedConfig, WassersteinConfig
from nastk.gan.objectives import (
    Hinge,
    LeastSquares,
    NonSaturating,
    SemiSupervised,
    WassersteinGP,
    labelled_class_loss,
    real_class_loss,
)
from nastk.objective import Exchange, Scores

V = torch.tensor([[[[0.5, -2.0]]], [[[1.5, 0.0]]]])


def both(real: Tensor, fake: Tensor) -> Exchange:
    return Exchange(Scores(real), Scores(fake))


def values(terms: object) -> dict[str, float]:
    return {k: pytest.approx(float(v)) for k, v in terms.items()}  # type: ignore[attr-defined]


def test_hinge_values() -> None:
    e = both(V, -V)
    assert values(Hinge().discriminator_terms(e)) == {"real": 4.5 / 4, "fake": 4.5 / 4}
    assert values(Hinge().generator_terms(e)) == {"adversarial": 0.0}


def test_least_squares_values() -> None:
    terms = LeastSquares().discriminator_terms(both(V, V))
    real = sum((v - 1) ** 2 for v in (0.5, -2.0, 1.5, 0.0)) / 8
    fake = sum(v**2 for v in (0.5, -2.0, 1.5, 0.0)) / 8
    assert values(terms) == {"real": real, "fake": fake}
    assert values(LeastSquares().generator_terms(both(V, V))) == {"adversarial": real}


def test_non_saturating_is_cross_entropy_and_stays_finite() -> None:
    e = both(V, V)
    expected = F.binary_cross_entropy_with_logits(V, torch.zeros_like(V))
    assert values(NonSaturating().discriminator_terms(e))["fake"] == float(expected)
    huge = both(torch.full((2, 1), -1e4), torch.full((2, 1), 1e4))
    assert values(NonSaturating().discriminator_terms(huge)) == {"real": 1e4, "fake": 1e4}


@pytest.mark.parametrize("objective", [Hinge(), LeastSquares(), NonSaturating()])
def test_separable_objectives_give_only_the_term_that_was_asked_for(objective: Hinge) -> None:
    whole = objective.discriminator_terms(both(V, -V))
    real = objective.discriminator_terms(Exchange(Scores(V), None))
    fake = objective.discriminator_terms(Exchange(None, Scores(-V)))
    assert objective.separable
    assert (list(real), list(fake)) == (["real"], ["fake"])
    assert {**real, **fake} == whole


def linear_exchange(slope: float) -> Exchange:
    def score(images: Tensor) -> Scores:
        return Scores(slope * images.flatten(1).sum(1, keepdim=True))

    real, fake = torch.rand(6, 1, 4, 4), torch.rand(4, 1, 4, 4)
    return Exchange(score(real), score(fake), real, fake, discriminator=score)


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    terms = WassersteinGP(WassersteinConfig(penalty=10.0)).discriminator_terms(linear_exchange(0.5))
    assert float(terms["penalty"]) == pytest.approx(10 * (0.5 * 4 - 1) ** 2, rel=1e-5)


def test_gradient_penalty_trains_the_critic_and_survives_a_flat_one() -> None:
    slope = torch.zeros((), requires_grad=True)
    exchange = linear_exchange(0.0)
    exchange.discriminator = lambda x: Scores(slope * x.flatten(1).sum(1, keepdim=True))
    WassersteinGP().discriminator_terms(exchange)["penalty"].backward()
    assert slope.grad is not None
    assert math.isfinite(slope.grad)


def test_wasserstein_takes_maps_as_one_verdict_per_image() -> None:
    exchange = linear_exchange(0.5)
    exchange.discriminator = lambda x: Scores(
        (0.5 * x.flatten(1).sum(1))[:, None, None, None].expand(-1, 1, 3, 3)
    )
    terms = WassersteinGP().discriminator_terms(exchange)
    assert float(terms["penalty"]) == pytest.approx(10.0, rel=1e-5)


def test_drift_holds_real_scores_near_zero() -> None:
    objective = WassersteinGP(WassersteinConfig(penalty=0.0, drift=0.1))
    terms = objective.discriminator_terms(both(V, V))
    assert float(terms["drift"]) == pytest.approx(0.1 * float(V.square().mean()))
    assert float(sum(terms.values())) == pytest.approx(float(terms["drift"]))


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 4.0]])


def test_labelled_images_have_cross_entropy_over_k_plus_1() -> None:
    labels = torch.tensor([0, 1, 0])
    expected = F.cross_entropy(LOGITS, labels, reduction="none")
    torch.testing.assert_close(real_class_loss(LOGITS, labels), expected)


def test_unlabelled_images_have_the_loss_of_being_any_real_class() -> None:
    expected = -torch.log(1 - LOGITS.softmax(1)[:, -1])
    torch.testing.assert_close(real_class_loss(LOGITS, None), expected)
    mixed = real_class_loss(LOGITS, torch.tensor([-1, 1, -1]))
    torch.testing.assert_close(mixed[[0, 2]], expected[[0, 2]])
    certain = real_class_loss(torch.tensor([[0.0, 0.0, 500.0]]), None)
    assert float(certain) == pytest.approx(500 - math.log(2))


def test_semi_supervised_terms_follow_the_published_weights() -> None:
    labels = torch.tensor([0, 1, 0])
    validity = torch.tensor([[0.2], [0.7], [1.1]])
    scores = Scores(validity, LOGITS)
    terms = SemiSupervised().discriminator_terms(Exchange(scores, scores, labels=labels))
    real = 0.5 * (validity - 1).square().mean() + 0.5 * F.cross_entropy(LOGITS, labels)
    fake = 0.5 * validity.square().mean() + 0.5 * F.cross_entropy(LOGITS, torch.full((3,), 2))
    assert values(terms) == {"real": float(real), "fake": float(fake)}
    g = SemiSupervised().generator_terms(Exchange(None, scores, labels=labels))
    assert values(g) == {"adversarial": float((validity - 1).square().mean())}


def test_reconstruction_counts_hidden_pixels_only() -> None:
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2, :2] = 1
    real = torch.zeros(2, 3, 4, 4)
    fake = torch.full_like(real, 9.0)
    fake[:, :, :2, :2] = 0.25
    objective = SemiSupervised(SemiSupervisedConfig(reconstruction=2.0))
    scores = Scores(V, torch.zeros(2, 3))
    exchange = Exchange(None, scores, real, fake, mask=mask)
    assert values(objective.generator_terms(exchange))["reconstruction"] == 0.5
    exchange.mask = None
    with pytest.raises(ConfigError, match="reconstruction"):
        objective.generator_terms(exchange)


def test_generator_class_loss_leaves_hidden_labels_and_the_pseudo_class_out() -> None:
    objective = SemiSupervised(SemiSupervisedConfig(generator_class_weight=1.0))
    exchange = Exchange(None, Scores(V[:1], LOGITS), labels=torch.tensor([1, -1, -1]))
    expected = F.cross_entropy(LOGITS[:1, :2], torch.tensor([1]))
    assert values(objective.generator_terms(exchange))["class"] == float(expected)
    assert float(labelled_class_loss(LOGITS, torch.tensor([-1, -1, -1]))) == 0.0
    assert float(labelled_class_loss(LOGITS, None)) == 0.0


def test_semi_supervised_asks_for_k_plus_1_logits_and_refuses_what_lacks_them() -> None:
    assert SemiSupervised().class_logits(10) == 11
    assert Hinge().class_logits(10) == 0
    with pytest.raises(PairError, match="labelled classes"):
        SemiSupervised().class_logits(0)
    with pytest.raises(PairError, match="class logits"):
        SemiSupervised().discriminator_terms(both(V, V))
