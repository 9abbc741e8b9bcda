"""What every trainer promises, with the objectives that need most of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from nastk.assembly import World
from nastk.attempts import begin
from nastk.objective import Exchange, Objective
from nastk.randomness import Randomness
from nastk.records import Budget, Cost
from nastk.registry import Component
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import differences, leaves, through_disk, untouched_randomness
from nastk.trainer import Plan, Training


def begun(world: World, seed: int = 0, plan: Plan | None = None) -> Training:
    """Return a training of one architecture of the world's space."""
    search = world.search
    architecture = search.space.sample(Randomness(1).numpy("architecture"))
    randomness = Randomness(seed, search.device)
    return begin(search.trainer, search.space, architecture, plan or Plan(), randomness)


class Coupled(Objective):
    """One term in which real and generated images stand together (as learning from positive and
    unlabelled images has it), of images in whole batches, with a state.
    """

    name = "coupled"
    separable = False
    micro_batching = False
    real_in_generator_step = True

    def __init__(self) -> None:
        self.calls = 0

    def discriminator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return one term of both, a scalar."""
        self.calls += 1
        assert exchange.real is not None
        assert exchange.fake is not None
        fake, real = exchange.fake.validity.float(), exchange.real.validity.float()
        soft = torch.nn.functional.softplus
        prior = 0.5 * exchange.progress
        unlabelled = soft(fake).mean() - prior * soft(real).mean()
        return {"coupled": prior * soft(-real).mean() + unlabelled.clamp(min=0.0)}

    def generator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return a term, a scalar, that needs the real images as well."""
        assert exchange.real is not None
        assert exchange.fake is not None
        return {"gap": exchange.real.validity.mean() - exchange.fake.validity.mean()}

    def state_dict(self) -> dict[str, Any]:
        """Return the number of calls."""
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.calls = int(state["calls"])


class Discrepancy(Objective):
    """Maximum mean discrepancy of D's outputs as vectors (a linear and a Gaussian kernel)."""

    name = "discrepancy"
    separable = False
    micro_batching = False
    real_in_generator_step = True

    def discriminator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return its negative, a scalar."""
        return {"discrepancy": -_discrepancy(exchange)}

    def generator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return it, a scalar."""
        return {"discrepancy": _discrepancy(exchange)}


def _discrepancy(exchange: Exchange) -> Tensor:
    assert exchange.real is not None
    assert exchange.fake is not None
    x, y = (_vectors(s) for s in (exchange.real, exchange.fake))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a[:, None] - b[None]).square().sum(2)
        return ((-squared / 2).exp() + a @ b.T).mean()

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)


def _vectors(scores: Any) -> Tensor:
    parts = [scores.validity] if scores.features is None else [scores.validity, scores.features]
    return torch.cat([p.float().flatten(1) for p in parts], 1)


class TrainerContract(ComponentContract):
    """Laws of trainers."""

    kind: ClassVar[str] = "trainer"

    def test_same_seed_gives_the_same_training(self, component: Component) -> None:
        """Networks, losses and costs; no global generator is used."""
        ends = []
        with untouched_randomness():
            for _ in range(2):
                training = begun(self.world(component))
                progress = training.advance(Budget(3))
                ends.append([training.state_dict(), dict(progress.losses)])
        assert differences(*ends) == []

    def test_building_advances_the_stream_init_only(self, component: Component) -> None:
        """Another stream would make a search depend on how often networks are built."""
        search = self.world(component).search
        randomness = Randomness(0, search.device)
        search.trainer.build(search.space, "generator", {}, randomness)
        assert {key for key in leaves(randomness.state_dict()) if "init" not in key} <= {".seed"}

    def test_beginning_spends_nothing(self, component: Component) -> None:
        """A training starts at cost zero."""
        assert begun(self.world(component)).cost == Cost()

    def test_twenty_five_and_twenty_five_steps_are_fifty(self, component: Component) -> None:
        """Bit for bit, through files, into objects that were made with another seed."""
        whole = begun(self.world(component))
        whole.advance(Budget(50))
        first = begun(self.world(component))
        first.advance(Budget(25))
        second = begun(self.world(component), seed=5)
        second.load_state_dict(through_disk(first.state_dict()))
        second.advance(Budget(25))
        assert differences(whole.state_dict(), second.state_dict()) == []

    def test_a_snapshot_is_a_copy_and_restores_bit_for_bit(self, component: Component) -> None:
        """Train on, and the snapshot stays; restore it, and the networks are as they were."""
        training = begun(self.world(component))
        training.advance(Budget(2))
        snapshot, before = training.state_dict(), leaves(training.state_dict())
        training.advance(Budget(1))
        assert leaves(snapshot) == before, "the snapshot changed while training went on"
        assert differences(training.state_dict(), snapshot), "a step changed nothing"
        training.load_state_dict(snapshot)
        assert differences(training.state_dict(), snapshot) == []

    def test_costs_are_those_of_the_budget(self, component: Component) -> None:
        """Steps exactly; progress and total agree; budgets of other units end just after."""
        training = begun(self.world(component))
        first = training.advance(Budget(3)).cost
        assert first.steps == 3
        assert min(first.images, first.macs) > 0
        second = training.advance(Budget(2 * first.images, "images")).cost
        assert 2 * first.images <= second.images <= 3 * first.images
        total, parts = training.cost, first + second
        assert (total.steps, total.images, total.macs) == (parts.steps, parts.images, parts.macs)

    def test_frozen_networks_do_not_move(self, component: Component) -> None:
        """A plan can leave out either network."""
        for role, plan in (("generator", Plan(train_generator=False)),
                           ("discriminator", Plan(train_discriminator=False))):  # fmt: skip
            training = begun(self.world(component), plan=plan)
            network = getattr(training.pair, role)
            before = {n: p.detach().clone() for n, p in network.named_parameters()}
            training.advance(Budget(2))
            assert all(torch.equal(p, before[n]) for n, p in network.named_parameters()), role

    def test_evaluated_generator_makes_images(self, component: Component) -> None:
        """In eval mode, of the space's shape, in [-1, 1]."""
        training = begun(self.world(component))
        training.advance(Budget(1))
        generator, space = training.eval_generator(), training.pair.space
        assert not any(m.training for m in generator.modules())
        inputs = torch.zeros(2, *space.input.shape, device=next(generator.parameters()).device)
        images = generator(inputs)
        assert images.shape == (2, *space.task.image)
        assert float(images.abs().max()) <= 1

    def test_objectives_that_couple_real_and_fake_train_and_resume(
        self, component: Component
    ) -> None:
        """One coupled term with a state, and vector outputs; 2 + 2 steps are 4."""
        for make in (Coupled, Discrepancy):
            ends = []
            for halves in ((4,), (2, 2)):
                training = begun(self.world(component), plan=Plan(objective=make(), horizon=4))
                for n, steps in enumerate(halves):
                    if n:
                        state = through_disk(training.state_dict())
                        plan = Plan(objective=make(), horizon=4)
                        training = begun(self.world(component), plan=plan)
                        training.load_state_dict(state)
                    progress = training.advance(Budget(steps))
                ends.append(training.state_dict())
                assert all(torch.isfinite(torch.tensor(v)) for v in progress.losses.values())
            assert differences(*ends) == [], make.name

    def test_it_trains_on_the_device(self, component: Component) -> None:
        """On pretend CUDA: networks, data and draws are where they are used."""
        with pretend_cuda():
            training = begun(self.world(component, device="cuda:0"))
            training.advance(Budget(2))
            again = begun(self.world(component, device="cuda:0"))
            again.load_state_dict(training.state_dict())
            again.advance(Budget(1))
            devices = {str(p.device) for p in again.pair.generator.parameters()}
        assert devices == {"cuda:0"}
