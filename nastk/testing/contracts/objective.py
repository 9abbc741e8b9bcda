"""What every objective promises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nastk.objective import Exchange, Objective, Scores
from nastk.randomness import Randomness
from nastk.records import Budget
from nastk.registry import Component
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.contracts.trainer import begun
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import differences, through_disk

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (1, 4, 4), (6,))
"""Shapes of D's validity for one image: bare, a logit, a map, a vector."""


class ObjectiveContract(ComponentContract):
    """Laws of objectives.

    Attributes:
        classes: of the labels; the class outputs are as many as the objective asks for.
        shapes: validities of one image that the objective must take.
    """

    kind: ClassVar[str] = "objective"
    classes: ClassVar[int] = 3
    shapes: ClassVar[Sequence[tuple[int, ...]]] = SHAPES

    def objective(self, component: Component) -> Objective:
        """Return a fresh objective, made as a run makes it."""
        made: Objective = component.load_factory()(self.config(component))
        return made

    def test_gradients_are_finite(self, component: Component) -> None:
        """For every shape of D's outputs, and where D is very sure of itself."""
        for shape in self.shapes:
            for factor in (1.0, 50.0):
                for seed, turn in ((0, "discriminator"), (1, "generator")):
                    objective = self.objective(component)
                    made = self.exchange(objective, shape, seed=seed, factor=factor)
                    loss = self.loss(objective, turn, made)
                    assert loss.dim() == 0, f"the {turn}'s loss is no scalar"
                    assert bool(torch.isfinite(loss.detach())), f"{turn}, {shape}: {loss}"
                    for gradient in _gradients(loss, made):
                        assert bool(torch.isfinite(gradient).all()), f"{turn}, {shape}"

    def test_terms_are_named_scalars(self, component: Component) -> None:
        """They sum to the loss, and each is logged under its name."""
        objective = self.objective(component)
        made = self.exchange(objective)
        for terms in (self.terms(objective, "discriminator", made),
                      self.terms(objective, "generator", self.exchange(objective))):  # fmt: skip
            assert terms
            assert all(isinstance(n, str) and t.dim() == 0 for n, t in terms.items())

    def test_separable_terms_are_those_of_their_side(self, component: Component) -> None:
        """Given one side only, a separable objective returns its term, equal to the joint one."""
        objective = self.objective(component)
        if not (objective.separable and objective.adversarial):
            return
        joint = self.terms(objective, "discriminator", self.exchange(objective))
        for side, other in (("real", "fake"), ("fake", "real")):
            alone = self.exchange(objective)
            setattr(alone, other, None)
            setattr(alone, f"{other}_images", None)
            terms = self.terms(objective, "discriminator", alone)
            assert list(terms) == [side], f"given {side} only, got terms {list(terms)}"
            assert torch.allclose(terms[side], joint[side]), side

    def test_generator_trains_through_the_generated_images(self, component: Component) -> None:
        """Without real images, unless the objective says that it needs them."""
        objective = self.objective(component)
        if not objective.adversarial:
            return
        made = self.exchange(objective)
        if not objective.real_in_generator_step:
            made.real = None
        assert made.fake is not None
        loss = self.loss(objective, "generator", made)
        (gradient,) = torch.autograd.grad(loss, made.fake.validity, allow_unused=True)
        assert gradient is not None, "no gradient reaches the generator"
        assert float(gradient.abs().max()) > 0, "no gradient reaches the generator"

    def test_split_batches_have_the_same_mean(self, component: Component) -> None:
        """An objective that allows micro-batches is a mean over the samples."""
        objective = self.objective(component)
        if not objective.micro_batching:
            return
        for turn in ("discriminator", "generator"):
            made = self.exchange(objective)
            whole = self.loss(self.objective(component), turn, made)
            parts = [
                self.loss(self.objective(component), turn, part(made, half)) for half in HALVES
            ]
            assert torch.allclose(whole, (parts[0] + parts[1]) / 2, atol=1e-5), turn

    def test_what_it_is_shown_stays_as_it_is(self, component: Component) -> None:
        """Scores, images and labels are not changed in place."""
        objective = self.objective(component)
        made = self.exchange(objective)
        before = differences_of(made)
        for turn in ("discriminator", "generator"):
            self.loss(objective, turn, made)
        assert differences(before, differences_of(made)) == []

    def test_state_survives_the_disk(self, component: Component) -> None:
        """A fresh objective with the saved state gives the same losses from there on."""
        first = self.objective(component)
        for seed in range(3):
            self.loss(first, "discriminator", self.exchange(first, seed=seed))
            self.loss(first, "generator", self.exchange(first, seed=seed))
        saved = through_disk(first.state_dict())
        second = self.objective(component)
        second.load_state_dict(saved)
        assert differences(second.state_dict(), first.state_dict()) == []
        for turn in ("discriminator", "generator"):
            mine = self.loss(first, turn, self.exchange(first, seed=9))
            theirs = self.loss(second, turn, self.exchange(second, seed=9))
            assert torch.equal(mine, theirs)

    def test_it_trains_and_resumes_in_a_trainer(self, component: Component) -> None:
        """Two steps and two more equal four, bit for bit, with losses that are finite."""
        whole = begun(self.world(component))
        whole.advance(Budget(4))
        first = begun(self.world(component))
        progress = first.advance(Budget(2))
        second = begun(self.world(component))
        second.load_state_dict(through_disk(first.state_dict()))
        second.advance(Budget(2))
        assert differences(whole.state_dict(), second.state_dict()) == []
        assert all(torch.isfinite(torch.tensor(v)) for v in progress.losses.values())

    def test_it_runs_on_the_device(self, component: Component) -> None:
        """On pretend CUDA: no tensor of the objective's own stays behind on the CPU."""
        with pretend_cuda():
            objective = self.objective(component)
            for network in objective.companions().values():
                network.to("cuda:0")
            for turn in ("discriminator", "generator"):
                loss = self.loss(objective, turn, self.exchange(objective, device="cuda:0"))
                loss.backward()  # type: ignore[no-untyped-call]

    # -- what an objective is shown ------------------------------------------------------------

    def exchange(
        self,
        objective: Objective,
        shape: tuple[int, ...] = (1,),
        *,
        seed: int = 0,
        factor: float = 1.0,
        device: str = "cpu",
    ) -> Exchange:
        """Return one exchange of eight images, of a D whose outputs have ``shape`` per image."""
        source = Randomness(seed, device).fixed("exchange")

        def draw(*size: int) -> Tensor:
            return torch.randn(8, *size, generator=source, device=device)

        logits = objective.class_logits(self.classes)
        judge = _Judge(shape, logits, factor).to(device)
        images = [torch.tanh(draw(1, 8, 8)) for _ in range(2)]
        labels = torch.tensor([0, -1, 2, 1] * 2, device=device) % (self.classes or 1)
        labels[1::4] = -1
        real, fake = (_leaves(judge(x)) for x in images)
        return Exchange(
            real,
            fake,
            real_images=images[0],
            fake_images=images[1],
            labels=labels,
            condition=draw(4),
            mask=torch.ones(8, 1, 8, 8, device=device),
            progress=0.5,
            discriminator=judge,
        )

    def terms(self, objective: Objective, turn: str, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return the terms of one turn, scalars; random places come from one fixed scope."""
        function: Callable[[Exchange], Mapping[str, Tensor]] = getattr(objective, f"{turn}_terms")
        with Randomness(0, _device_of(exchange)).scoped("objective"):
            return function(exchange)

    def loss(self, objective: Objective, turn: str, exchange: Exchange) -> Tensor:
        """Return the sum of the terms of one turn, a scalar."""
        return torch.stack(
            [t.float() for t in self.terms(objective, turn, exchange).values()]
        ).sum()


HALVES = (slice(0, 4), slice(4, 8))


def part(exchange: Exchange, half: slice) -> Exchange:
    """Return the exchange of some of the samples."""
    found = copy.copy(exchange)
    for name in ("real_images", "fake_images", "labels", "condition", "mask"):
        setattr(found, name, getattr(exchange, name)[half])
    for name in ("real", "fake"):
        setattr(found, name, _each(getattr(exchange, name), lambda x: x[half]))
    return found


def differences_of(exchange: Exchange) -> dict[str, Any]:
    """Return all tensors of an exchange by name, copies."""
    found = {n: getattr(exchange, n) for n in ("real_images", "fake_images", "labels", "mask")}
    for name in ("real", "fake"):
        found |= {f"{name}.{i}": x for i, x in enumerate(getattr(exchange, name)) if x is not None}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


class _Judge(nn.Module):
    """A fixed linear discriminator whose outputs have any shape."""

    def __init__(self, shape: tuple[int, ...], logits: int, factor: float) -> None:
        super().__init__()
        source, count = torch.Generator().manual_seed(5), int(torch.tensor(shape).prod()) or 1
        self.shape, self.factor, self.logits = shape, factor, logits
        self.register_buffer("weight", torch.randn(64, count + logits, generator=source) / 8)

    def forward(self, images: Tensor) -> Scores:
        found = self.factor * (images.flatten(1) @ self.get_buffer("weight"))
        count = found.shape[1] - self.logits
        validity = found[:, :count].reshape(len(images), *self.shape)
        return Scores(validity, found[:, count:] if self.logits else None, images.flatten(1))


def _leaves(scores: Scores) -> Scores:
    return _each(scores, lambda x: x.detach().requires_grad_())


def _each(scores: Scores, change: Callable[[Tensor], Tensor]) -> Scores:
    found: list[Any] = [None if x is None else change(x) for x in scores]
    return Scores(*found)


def _gradients(loss: Tensor, exchange: Exchange) -> list[Tensor]:
    inputs = [x for s in (exchange.real, exchange.fake) if s for x in s if x is not None]
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def _device_of(exchange: Exchange) -> str:
    assert exchange.mask is not None
    return str(exchange.mask.device)
