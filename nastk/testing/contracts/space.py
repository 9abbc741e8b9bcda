"""What every search space promises, the laws of choices included."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from nastk.nn.choice import Network, build, build_derived
from nastk.nn.coupling import coupling
from nastk.objective import Scores, as_scores
from nastk.randomness import Randomness
from nastk.records import Architecture, Role, Task, canonical_json, from_json, to_json
from nastk.registry import Component
from nastk.space import SearchSpace
from nastk.testing.contracts.component import ComponentContract
from nastk.testing.laws import ChoiceLaws, inputs, outputs, randomised
from nastk.testing.mixtures import hold_forms
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.testing.workbench import untouched_randomness

ROLES: tuple[Role, Role] = ("generator", "discriminator")


class SpaceContract(ComponentContract, ChoiceLaws):
    """Laws of spaces. ``settings`` should make networks of a few thousand parameters.

    Attributes:
        task: that the space is made for; class outputs are asked for by it too.
        draws: random architectures that each law is tried on.
    """

    kind: ClassVar[str] = "space"
    task: ClassVar[Task] = Task((1, 16, 16), 3, 4)
    draws = 3

    @pytest.fixture
    def space(self, component: Component) -> SearchSpace:
        """The space, made as a run makes it."""
        made: SearchSpace = component.load_factory()(self.config(component), task=self.task)
        return made

    # -- decisions -----------------------------------------------------------------------------

    def test_decisions_are_named_once_generator_first(self, space: SearchSpace) -> None:
        """Names are unique, each has options, and the generator's stand before the rest."""
        names = [d.name for d in space.decisions]
        assert len(names) == len(set(names)), "two decisions have one name"
        roles = [d.role for d in space.decisions]
        assert roles == sorted(roles, key=ROLES.index), "generator's decisions come first"
        for decision in space.decisions:
            assert len(set(decision.options)) == len(decision.options) > 0, decision.name
            for clause in decision.when:
                assert set(clause) <= set(names[: names.index(decision.name)]), decision.name

    def test_architectures_survive_codes_and_json(self, space: SearchSpace) -> None:
        """Codes and documents lead back to the same architecture and fingerprint."""
        for architecture in self.sampled(space):
            again = space.parse(space.encode(architecture))
            document = json.loads(canonical_json(to_json(architecture)))
            for other in (again, from_json(Architecture, document)):
                assert dict(other.choices) == dict(architecture.choices)
                assert other.fingerprint == architecture.fingerprint

    def test_canonical_form_is_its_own_and_valid_ones_need_no_repair(
        self, space: SearchSpace
    ) -> None:
        """What is drawn is valid, canonical, and left alone by ``repair``."""
        for architecture in self.sampled(space):
            choices = architecture.choices
            assert space.canonical(choices) == dict(choices)
            assert not space.problems(choices)
            assert space.canonical(space.repair(choices)) == dict(choices)
            assert len(space.one_hot(architecture)) == sum(len(d.options) for d in space.decisions)

    def test_same_draws_give_the_same_architectures(self, space: SearchSpace) -> None:
        """Samples and mutations depend on the generator that they are handed and nothing else."""
        runs = []
        with untouched_randomness():
            for _ in range(2):
                rng = np.random.default_rng(3)
                drawn = [space.sample(rng) for _ in range(self.draws)]
                runs.append([*drawn, *(space.mutate(a, rng) for a in drawn)])
        assert runs[0] == runs[1]
        for before, after in zip(runs[0], runs[0][self.draws :], strict=False):
            assert after.fingerprint != before.fingerprint, "a mutation changed nothing"
            assert not space.problems(after.choices)

    def test_a_narrowed_space_is_a_space(self, space: SearchSpace) -> None:
        """Any decision can be made or narrowed; the rest stays open, the old space untouched."""
        identity, rng = space.identity, np.random.default_rng(4)
        for architecture in self.sampled(space):
            for name, option in architecture.choices.items():
                frozen = space.freeze({name: option})
                found = frozen.sample(rng)
                assert found.choices.get(name, option) == option
                assert frozen.architecture(found.choices) == found
                space.architecture(found.choices)  # valid there too
        assert space.identity == identity

    # -- networks ------------------------------------------------------------------------------

    def test_networks_have_the_shapes_of_the_task(self, space: SearchSpace) -> None:
        """Images in [-1, 1]; one score per image at least; class outputs where they are wanted."""
        for architecture in self.sampled(space):
            made = self._networks(space, architecture)
            images, scores = self._pass(space, *made)
            assert images.shape == (2, *space.task.image)
            assert float(images.detach().abs().max()) <= 1.0, "images leave [-1, 1]"
            assert scores.validity.shape[0] == 2
            if space.task.class_logits:
                assert scores.classes is not None, "the task asks for class outputs"
                assert scores.classes.shape == (2, space.task.class_logits)

    def test_every_decision_is_asked_for(self, space: SearchSpace) -> None:
        """One that no network asks for is searched in vain."""
        supernets = [build(space, role, {}) for role in ROLES]
        asked = {d for net in supernets for d in (*net.selection.options, *net.choices)}
        assert {d.name for d in space.decisions} <= asked, "a decision shapes no network"

    def test_every_prefix_of_blocks_makes_images(self, space: SearchSpace) -> None:
        """The first k blocks are a complete network, of the image that ``prefix_task`` says."""
        architecture = self.sampled(space)[0]
        for blocks in range(1, space.blocks + 1):
            choices = space.prefix(architecture.choices, blocks)
            if blocks < space.blocks:
                whole = space.cheapest_completion(choices, blocks)
                assert not space.problems(whole), f"completion of {blocks} blocks is not valid"
            generator = build_derived(space, "generator", choices, blocks)
            discriminator = build(space, "discriminator", architecture.choices, blocks)
            images, _ = self._pass(space, generator, discriminator)
            assert images.shape == (2, *space.prefix_task(blocks).image)

    def test_gradients_reach_both_networks(self, space: SearchSpace) -> None:
        """Finite ones, in the supernet as in derived networks."""
        architecture = self.sampled(space)[0]
        supernets = build(space, ROLES[0], {}), build(space, ROLES[1], {})
        for supernet in supernets:
            supernet.activate(architecture.choices)
        for generator, discriminator in (supernets, self._networks(space, architecture)):
            _, scores = self._pass(space, generator, discriminator)
            torch.stack([o.sum() for o in scores if o is not None]).sum().backward()  # type: ignore[no-untyped-call]
            for network in (generator, discriminator):
                found = [p.grad for p in network.parameters() if p.grad is not None]
                assert found, f"no gradient reaches the {network.role}"
                assert all(bool(torch.isfinite(g).all()) for g in found)

    def test_images_are_treated_apart_unless_it_is_said(self, space: SearchSpace) -> None:
        """Training in parts (``trainer.micro_batch``) takes it that no image minds the others.

        Batch norm and dropout are known to mind, and are tried in eval mode; a module of its own
        kind that looks over its batch says ``couples_images = True``.
        """
        for architecture in self.sampled(space):
            for network in map(randomised, self._networks(space, architecture)):
                if any(getattr(m, "couples_images", False) for m in network.modules()):
                    continue
                network.train(not coupling(network))
                x = inputs(space, network.role)
                alone = zip(*(outputs(network, image[None]) for image in x), strict=True)
                for whole, rows in zip(outputs(network, x), alone, strict=True):
                    assert torch.allclose(whole, torch.cat(rows), atol=1e-9), (
                        f"an image's result depends on its batch in the {network.role}: give the "
                        "module that couples them an attribute 'couples_images = True'"
                    )

    def test_mixtures_are_the_same_in_faster_forms(self, space: SearchSpace) -> None:
        """What a trainer runs instead of all options of a supernet computes the same."""
        for role in ROLES:
            hold_forms(space, role, "auto", steps=1)

    def test_networks_draw_from_the_scope_they_are_built_in(self, space: SearchSpace) -> None:
        """Equal seeds build equal networks, which no import or earlier build changes."""
        architecture, built = self.sampled(space)[0], []
        for seed in (1, 1):
            with untouched_randomness(), Randomness(seed).scoped("init"):
                built.append(build_derived(space, "generator", architecture.choices).state_dict())
        assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])

    def test_networks_run_on_the_device(self, space: SearchSpace) -> None:
        """On pretend CUDA: the forward and backward pass mix no devices."""
        architecture = self.sampled(space)[0]
        with pretend_cuda():
            made = [n.to("cuda:0") for n in self._networks(space, architecture)]
            images, scores = self._pass(space, made[0], made[1], "cuda:0")
            scores.validity.sum().backward()  # type: ignore[no-untyped-call]
            assert str(images.device) == "cuda:0"

    def _networks(self, space: SearchSpace, architecture: Architecture) -> tuple[Network, Network]:
        networks = [build_derived(space, role, architecture.choices) for role in ROLES]
        return networks[0], networks[1]

    def _pass(
        self, space: SearchSpace, generator: Network, discriminator: Network, device: str = "cpu"
    ) -> tuple[Tensor, Scores]:
        source = Randomness(0, device).fixed("z")
        images: Tensor = generator(
            torch.randn(2, *space.input.shape, generator=source, device=device)
        )
        return images, as_scores(discriminator(images))
