"""The adversarial losses that nastk brings.

Scalars are means over the batch and over D's output of whatever shape, computed in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from nastk.errors import ConfigError, PairError
from nastk.gan.config import LeastSquaresConfig, SemiSupervisedConfig, WassersteinConfig
from nastk.objective import Exchange, Objective, Scores

Terms = Mapping[str, Tensor]


class _Separable(Objective):
    """Base of objectives whose D loss is one term on real and one on fake images."""

    def discriminator_terms(self, exchange: Exchange) -> Terms:
        """Return ``real`` and ``fake``, each where its scores are given."""
        terms = {}
        if exchange.real is not None:
            terms["real"] = self.on_real(exchange.real, exchange)
        if exchange.fake is not None:
            terms["fake"] = self.on_fake(exchange.fake, exchange)
        return terms

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return D's loss on real images, a scalar."""
        raise NotImplementedError

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return D's loss on generated images, a scalar."""
        raise NotImplementedError


def _fake(exchange: Exchange) -> Scores:
    assert exchange.fake is not None, "G's step scores generated images"
    return exchange.fake


class Hinge(_Separable):
    """Hinge loss. Source: Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018."""

    name = "hinge"

    def __init__(self, config: None = None) -> None:
        """Take no settings."""

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return mean max(0, 1 - D(x)), a scalar >= 0."""
        return F.relu(1.0 - scores.validity.float()).mean()

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return mean max(0, 1 + D(g)), a scalar >= 0."""
        return F.relu(1.0 + scores.validity.float()).mean()

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``: -mean D(g)."""
        return {"adversarial": -_fake(exchange).validity.float().mean()}


class LeastSquares(_Separable):
    """Least-squares loss. Source: Mao et al. 2017 (arXiv:1611.04076)."""

    name = "least-squares"

    def __init__(self, config: LeastSquaresConfig | None = None) -> None:
        self.config = config or LeastSquaresConfig()

    def _squared(self, scores: Scores, target: float) -> Tensor:
        return self.config.scale * (scores.validity.float() - target).square().mean()

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return scale · mean (D(x) - real_target)², a scalar >= 0."""
        return self._squared(scores, self.config.real_target)

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return scale · mean (D(g) - fake_target)², a scalar >= 0."""
        return self._squared(scores, self.config.fake_target)

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``: scale · mean (D(g) - generator_target)²."""
        return {"adversarial": self._squared(_fake(exchange), self.config.generator_target)}


class NonSaturating(_Separable):
    """Logistic loss with G's non-saturating form. Source: Goodfellow et al. 2014."""

    name = "non-saturating"

    def __init__(self, config: None = None) -> None:
        """Take no settings."""

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return mean -log sigmoid(D(x)), a scalar >= 0."""
        return F.softplus(-scores.validity.float()).mean()

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return mean -log(1 - sigmoid(D(g))), a scalar >= 0."""
        return F.softplus(scores.validity.float()).mean()

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``: mean -log sigmoid(D(g))."""
        return {"adversarial": F.softplus(-_fake(exchange).validity.float()).mean()}


class WassersteinGP(Objective):
    """Wasserstein loss with gradient penalty; needs real and fake in one update.

    The places between real and generated images come from torch's global generator, which the
    training loop holds on its own named stream.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028); drift term: Karras et al. 2018.
    """

    name = "wasserstein-gp"
    separable = False

    def __init__(self, config: WassersteinConfig | None = None) -> None:
        self.config = config or WassersteinConfig()

    def discriminator_terms(self, exchange: Exchange) -> Terms:
        """Return scalars ``real``, ``fake`` and, where weighted, ``penalty`` and ``drift``."""
        assert exchange.real is not None
        real = exchange.real.validity.float()
        terms = {"real": -real.mean(), "fake": _fake(exchange).validity.float().mean()}
        if self.config.penalty:
            terms["penalty"] = self.config.penalty * _gradient_penalty(exchange)
        if self.config.drift:
            terms["drift"] = self.config.drift * real.square().mean()
        return terms

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``: -mean D(g)."""
        return {"adversarial": -_fake(exchange).validity.float().mean()}


def _gradient_penalty(exchange: Exchange) -> Tensor:
    """Return mean (|∇D| - 1)² at random places between real and generated images."""
    assert exchange.real_images is not None
    assert exchange.fake_images is not None
    assert exchange.discriminator is not None
    n = min(len(exchange.real_images), len(exchange.fake_images))
    real, fake = exchange.real_images[:n], exchange.fake_images[:n]
    uniform = exchange.uniform or partial(torch.rand, device=real.device)
    share = uniform(n).view(n, 1, 1, 1)
    between = torch.lerp(real, fake, share).detach().requires_grad_()
    # D may answer with several numbers per image: their mean is its verdict on the image.
    verdict = exchange.discriminator(between).validity.float().reshape(n, -1).mean(1)
    (gradient,) = torch.autograd.grad(verdict.sum(), between, create_graph=True)
    # The root of an exact zero has an infinite slope, hence the small constant.
    norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norm - 1.0).square().mean()


class SemiSupervised(_Separable):
    """Least squares on the validity, cross-entropy over K classes and the class "generated".

    Real images with a visible label should be of that class; those without one of any of the K
    (``-log(1 - p_K)``); generated images carry the pseudo label K. G sees the validity only,
    unless the reconstruction of hidden pixels or its class is given a weight.

    Source: Zhang et al. 2021 (STASGAN, Pattern Recognition) as published in AICV-CUMT/STASGAN;
    images without label after Salimans et al. 2016 (arXiv:1606.03498).
    """

    name = "semi-supervised"

    def __init__(self, config: SemiSupervisedConfig | None = None) -> None:
        self.config = config or SemiSupervisedConfig()
        # The generator's class loss is a mean over visible labels, as in Supervised.
        self.micro_batching = not self.config.generator_class_weight

    def class_logits(self, classes: int) -> int:
        """Return K + 1.

        Raises:
            PairError: the data has no classes.
        """
        if classes < 1:
            raise PairError(
                "objective 'semi-supervised' needs labelled classes, the data set has none",
                "choose another objective, e.g. hinge",
            )
        return classes + 1

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return the weighted validity error and class loss of real images, a scalar >= 0."""
        logits = _logits(scores)
        classes = real_class_loss(logits, exchange.labels).mean()
        return self._validity(scores, 1.0) + self.config.class_weight * classes

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return the weighted validity error and pseudo-label loss, a scalar >= 0."""
        logits = _logits(scores)
        pseudo = (torch.logsumexp(logits, 1) - logits[:, -1]).mean()
        return self._validity(scores, 0.0) + self.config.class_weight * pseudo

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return scalars: ``adversarial`` (mean (V(g) - 1)²) and the terms with a weight."""
        scores = _fake(exchange)
        terms = {"adversarial": (scores.validity.float() - 1.0).square().mean()}
        if self.config.reconstruction:
            terms["reconstruction"] = self.config.reconstruction * hidden_error(exchange)
        if self.config.generator_class_weight:
            loss = labelled_class_loss(_logits(scores)[:, :-1], exchange.labels)
            terms["class"] = self.config.generator_class_weight * loss
        return terms

    def _validity(self, scores: Scores, target: float) -> Tensor:
        error = (scores.validity.float() - target).square().mean()
        return self.config.validity_weight * error


class RealOnly(SemiSupervised):
    """The semi-supervised objective without generated images; nothing adversarial.

    The baseline that tells what the generator is worth: the same head of K + 1 classes and the
    same losses on real images, with and without a visible label.
    """

    name = "real-only"
    adversarial = False

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``, which is zero."""
        return {"adversarial": _fake(exchange).validity.float().sum() * 0.0}


class Supervised(_Separable):
    """Cross-entropy over K classes on real images with a visible label; nothing adversarial.

    The baseline of semi-supervised classification: the same discriminator, trained on labelled
    real images only (``trainer.labelled_share=1`` fills its batches with them).
    """

    name = "supervised"
    micro_batching = False  # a mean over the visible labels, of which parts have unlike numbers
    adversarial = False

    def __init__(self, config: None = None) -> None:
        pass

    def class_logits(self, classes: int) -> int:
        """Return K + 1, as the semi-supervised objective wants; the last is left alone.

        Raises:
            PairError: the data has no classes.
        """
        return SemiSupervised().class_logits(classes)

    def on_real(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return the class loss of the labelled images, a scalar >= 0."""
        return labelled_class_loss(_logits(scores)[:, :-1], exchange.labels)

    def on_fake(self, scores: Scores, exchange: Exchange) -> Tensor:
        """Return zero, a scalar."""
        return _logits(scores).sum() * 0.0

    def generator_terms(self, exchange: Exchange) -> Terms:
        """Return a scalar ``adversarial``, which is zero."""
        return {"adversarial": _fake(exchange).validity.float().sum() * 0.0}


def _logits(scores: Scores) -> Tensor:
    if scores.classes is None:
        raise PairError(
            "the objective needs class logits, the discriminator gives none",
            "choose a space whose discriminator has a class head, or another objective",
        )
    return scores.classes.float()


def real_class_loss(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return ``(N,)`` class losses of real images, >= 0.

    Args:
        logits: ``(N, K + 1)``; the last class means generated.
        labels: ``(N,)`` int64, -1 where hidden; None: all hidden.
    """
    everything = torch.logsumexp(logits, 1)
    hidden = everything - torch.logsumexp(logits[:, :-1], 1)
    if labels is None:
        return hidden
    told = everything - logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(labels >= 0, told, hidden)


def labelled_class_loss(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return the mean cross-entropy over the images with a visible label, 0 without any.

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)`` int64, -1 where hidden.
    """
    if labels is None:
        return logits.sum() * 0.0
    picked = torch.logsumexp(logits, 1) - logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    visible = (labels >= 0).float()
    return (picked * visible).sum() / visible.sum().clamp(min=1.0)


def hidden_error(exchange: Exchange) -> Tensor:
    """Return the mean absolute error of generated images over the pixels hidden from G.

    Returns:
        A scalar, 0 to 2.

    Raises:
        ConfigError: the generator's inputs are not masked images.
    """
    if exchange.mask is None or exchange.real_images is None or exchange.fake_images is None:
        raise ConfigError(
            "objective.reconstruction: got a weight, expected 0 for a generator without masked "
            "inputs"
        )
    error = (exchange.fake_images.float() - exchange.real_images).abs() * exchange.mask
    return error.sum() / (exchange.mask.sum() * error.shape[1])
