"""What every network pass promises."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import torch

from nastk.nn.choice import Network, build
from nastk.nn.complexity import count
from nastk.objective import as_scores
from nastk.passes import NetworkPass
from nastk.randomness import Randomness
from nastk.records import Budget, Role
from nastk.registry import Component
from nastk.space import SearchSpace
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.contracts.trainer import begun
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import differences, through_disk, untouched_randomness


class PassContract(ComponentContract):
    """Laws of network passes, tried on the tiny space's networks."""

    kind: ClassVar[str] = "pass"

    def network_pass(self, component: Component) -> NetworkPass:
        """Return a fresh pass, made as a run makes it."""
        made: NetworkPass = component.load_factory()(self.config(component))
        return made

    def applied(self, component: Component, device: str = "cpu") -> list[Network]:
        """Return the networks of its roles, transformed."""
        space = self.space(component)
        made, found = self.network_pass(component), []
        for role in made.roles:
            randomness = Randomness(3, device)
            with randomness.scoped("build"):
                network = build(space, role, self.choices(space)).to(device)
            changed = made.apply(network, randomness)
            assert isinstance(changed, Network), "a pass returns the Network it was given"
            found.append(changed)
        return found

    def space(self, component: Component) -> SearchSpace:
        """Return the tiny space."""
        return self.world(component).search.space

    def choices(self, space: SearchSpace) -> Any:
        """Return the architecture whose networks are transformed."""
        return space.architecture({d.name: d.options[0] for d in space.decisions}).choices

    # -- laws ----------------------------------------------------------------------------------

    def test_it_says_which_networks_it_changes(self, component: Component) -> None:
        """One role at least, and an order."""
        made = self.network_pass(component)
        assert made.roles
        assert set(made.roles) <= set(get_args(Role))
        assert isinstance(made.order, int)
        assert made.name == component.name

    def test_same_streams_give_the_same_network(self, component: Component) -> None:
        """All draws come from the randomness that it is handed."""
        with untouched_randomness():
            first, second = self.applied(component), self.applied(component)
        for mine, theirs in zip(first, second, strict=True):
            assert differences(mine.state_dict(), theirs.state_dict()) == []

    def test_shapes_stay_and_gradients_are_finite(self, component: Component) -> None:
        """A transformed network maps what the plain one maps, and trains."""
        space = self.space(component)
        for network in self.applied(component):
            plain = build(space, network.role, self.choices(space))
            outputs = [_outputs(n, space) for n in (network, plain)]
            assert [o.shape for o in outputs[0]] == [o.shape for o in outputs[1]]
            torch.stack([o.sum() for o in outputs[0]]).sum().backward()  # type: ignore[no-untyped-call]
            found = [p.grad for p in network.parameters() if p.grad is not None]
            assert found
            assert all(bool(torch.isfinite(g).all()) for g in found)

    def test_state_passes_into_another_build(self, component: Component) -> None:
        """Weights saved of one transformed network fit into the next."""
        for mine, theirs in zip(self.applied(component), self.applied(component), strict=True):
            with torch.no_grad():
                for parameter in mine.parameters():
                    parameter.add_(0.5)
            theirs.load_state_dict(through_disk(dict(mine.state_dict())))
            assert differences(mine.state_dict(), theirs.state_dict()) == []

    def test_complexity_is_that_of_the_transformed_network(self, component: Component) -> None:
        """What is counted after the pass is what a trainer builds, at every build."""
        search = self.world(component).search
        space = search.space
        for network in self.applied(component):
            shape = space.input.shape if network.role == "generator" else space.task.image
            trained = search.trainer.build(
                space, network.role, self.choices(space), Randomness(3, search.device)
            )
            found, run = count(network, shape), count(trained, shape)
            assert (found.parameters, found.macs) == (run.parameters, run.macs)

    def test_training_with_it_resumes_bit_for_bit(self, component: Component) -> None:
        """Two steps and two more are four."""
        whole = begun(self.world(component))
        whole.advance(Budget(4))
        first = begun(self.world(component))
        first.advance(Budget(2))
        second = begun(self.world(component), seed=5)
        second.load_state_dict(through_disk(first.state_dict()))
        second.advance(Budget(2))
        assert differences(whole.state_dict(), second.state_dict()) == []

    def test_it_runs_on_the_device(self, component: Component) -> None:
        """On pretend CUDA: what it adds is where the network is."""
        with pretend_cuda():
            training = begun(self.world(component, device="cuda:0"))
            training.advance(Budget(1))


def _outputs(network: Network, space: SearchSpace) -> list[torch.Tensor]:
    shape = space.input.shape if network.role == "generator" else space.task.image
    x = torch.randn(2, *shape, generator=Randomness(0).fixed("x"))
    return [o for o in as_scores(network(x)) if o is not None]
