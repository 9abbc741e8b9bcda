"""The adversarialnas strategy: choice weights learned by the adversarial losses alone.

Generator and discriminator are supernets that run as mixtures. Each turn updates, in this order,
the choice weights of D and the weights of D, and at the end of a step the choice weights of G and
the weights of G. Choice weights learn from the half of each real batch that weights do not see.

Source: C. Gao et al., CVPR 2020 (arXiv:1912.02037) and its public search code. What differs, and
why, is listed in the plugin's README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from nastk.errors import SpaceError, TrialError
from nastk.gan.optimisers import load_optimiser_state, optimiser_state
from nastk.nn.choice import Network, build
from nastk.nn.inspect import training_bytes
from nastk.nn.snapshot import Snapshot
from nastk.nn.transfer import transfer
from nastk.records import Architecture, Budget, Leader, Role
from nastk.search import Search
from nastk.space import SearchSpace
from nastk.strategy import StepReport, Strategy
from nastk.trainer import Pair, Plan, Training, Turn
from nastk_adversarialnas.amended import choice_gradients, fixed, unmoved
from nastk_adversarialnas.config import StrategyConfig
from nastk_adversarialnas.derivation import derive
from nastk_adversarialnas.relaxation import ChoiceWeights, Mixer, temperature
from nastk_adversarialnas.space import FIRST, AdversarialSpace

PHASE = "supernet"
"""Ledger phase of the search."""

TOLD = 60
"""Times, about, that the choice weights are told over a search."""

ROLES: tuple[Role, ...] = ("generator", "discriminator")


class AdversarialStrategy(Strategy):
    """Searches any space whose open decisions can be mixed.

    Args:
        config: schedule, relaxation and derivation.
    """

    name = "adversarialnas"

    def __init__(self, config: StrategyConfig) -> None:
        self.config = config
        self.steps = 0
        self.failure = ""
        self.derived: list[tuple[int, dict[str, str]]] = []
        self.weights: dict[Role, ChoiceWeights] = {}
        self._mixers: dict[Role, Mixer] = {}
        self._optimisers: dict[Role, torch.optim.Adam] = {}
        self._training: Training | None = None
        self._drawn: dict[str, str] | None = None

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; its space gets decisions for D where that is wanted and possible."""
        super().start(search)
        self.space = self._searched(search.space)
        self.randomness = search.randomness.child("adversarialnas")

    def state_bytes(self, search: Search) -> int:
        """Return the bytes of the supernets' training; choice weights are next to nothing."""
        other = type(self)(self.config)
        other.start(search)
        return training_bytes(other.space, {}, other._discriminator())

    def unsupported(self, search: Search) -> str:
        """Return why this space or trainer cannot be searched, else empty."""
        if not search.trainer.halves:
            return (
                f"trainer '{search.trainer.name}' cannot update choice weights between the weights"
            )
        if not any(len(d.allowed) > 1 for d in search.space.decisions if d.role == "generator"):
            return "the generator has no open decision"
        if self.config.keep_discriminator and self._searched(search.space) is not search.space:
            return (
                "strategy.keep_discriminator needs the discriminator that is searched; set "
                "space.discriminator=searched, or strategy.search_discriminator=false"
            )
        return ""

    def step(self) -> StepReport:
        """Train a chunk; derive where one is due."""
        config, training = self.config, self._current()
        due = config.derive_every - self.steps % config.derive_every
        chunk = min(config.steps_per_chunk, config.steps - self.steps, due)
        before = training.cost
        try:
            progress = training.advance(Budget(chunk))
        except TrialError as error:
            self.failure = str(error)
            spent = training.cost - before
            self.search.ledger.enter(PHASE, spent, failed=True)
            self.search.emit("failure", phase=PHASE, reason=self.failure)
            return StepReport(f"supernet given up: {self.failure}", done=True, milestone=True)
        self.search.spend(PHASE, progress.cost)
        self.steps += chunk
        done = self.steps >= config.steps
        if done or self.steps % config.derive_every == 0:
            self._derive()
        if done or TOLD * self.steps // config.steps > TOLD * (self.steps - chunk) // config.steps:
            self._tell_weights()
        return self._report({**self._state_of_play(), **progress.losses}, done)

    def leaders(self) -> list[Leader]:
        """Return the distinct derivations, the last one first."""
        choices = [c for _, c in reversed(self.derived)]
        if self._training is not None and not self.failure:
            choices.insert(0, self._current_choices())
        found: dict[str, Architecture] = {}
        for each in choices:
            architecture = self.search.space.architecture(self._for_run(each))
            found.setdefault(architecture.fingerprint, architecture)
        return [Leader(architecture) for architecture in found.values()]

    def pictures(self) -> Any:
        """Return images of the derived path of G, with averaged and shared weights."""
        if self._training is None or self.failure:
            return None
        if self.space.input.kind != "latent":
            return self._training.pictures()
        network = self._training.eval_generator()
        assert isinstance(network, Network)
        network.activate(self._current_choices())
        shape = (64, *self.space.input.shape)
        source = self.randomness.fixed("pictures")
        with torch.no_grad():
            return network(torch.randn(shape, generator=source, device=source.device))

    def kept(self) -> Any:
        """Return the searched discriminator with its weights, None where it is not wanted."""
        if not self.config.keep_discriminator or self._training is None or self.failure:
            return None
        return Snapshot.take(self._training.pair.discriminator).state_dict()

    def prepare_retraining(self, search: Search, pair: Pair, kept: Any) -> None:
        """Give a leader's discriminator the weights that it had in the searched one."""
        snapshot = Snapshot.from_state(kept)
        randomness = search.randomness.child("adversarialnas/kept")
        empty = search.trainer.build(search.space, "discriminator", snapshot.choices, randomness)
        searched = snapshot.network(search.space, like=empty.to(search.device))
        searched.activate(pair.discriminator.choices)
        transfer(searched, pair.discriminator)

    # -- supernets -----------------------------------------------------------------------------

    def _current(self) -> Training:
        if self._training is None:
            self._training = self._begin()
        return self._training

    def _begin(self) -> Training:
        """Return the training of fresh supernets and choice weights."""
        trainer, space = self.search.trainer, self.space
        pair = Pair(
            trainer.build(space, "generator", {}, self.randomness),
            trainer.build(space, "discriminator", self._discriminator(), self.randomness),
            space,
        )
        for role, network in zip(ROLES, (pair.generator, pair.discriminator), strict=True):
            if not network.derived:
                self._relax(role, network)
        plan = Plan(
            phase=PHASE,
            horizon=self.config.steps,
            path=self._set_temperature,
            before_discriminator=self._updater("discriminator", pair),
            before_generator=self._updater("generator", pair),
            before_pass=self._mix,
        )
        return trainer.begin(pair, plan, self.randomness)

    def _relax(self, role: Role, network: Network) -> None:
        """Give the network's open decisions choice weights, a mixer and an optimiser."""
        config = self.config
        options = network.selection.options
        wasted = {name: 2 for name, known in options.items() if self._wastes(name, known)}
        weights = ChoiceWeights(options, self.randomness.torch("choices"), wasted)
        self.weights[role] = weights
        self._mixers[role] = Mixer(
            network, weights, noisy=config.gumbel, form=config.logits, ops=config.ops_at_once
        )
        self._optimisers[role] = torch.optim.Adam(
            weights.parameters(),
            config.choice_lr,
            (config.choice_beta1, config.choice_beta2),
            weight_decay=config.choice_weight_decay,
        )

    def _wastes(self, name: str, options: tuple[str, ...]) -> bool:
        mine = isinstance(self.space, AdversarialSpace) and name.startswith("dcell0.")
        return self.config.waste_first_cell and mine and options == FIRST

    def _mix(self, role: Role) -> None:
        if role in self._mixers:
            self._mixers[role](self.randomness.torch("gumbel"))

    def _set_temperature(self, step: int) -> None:
        for mixer in self._mixers.values():
            mixer.tau = self._temperature(step)

    def _temperature(self, step: int) -> float:
        """Return the temperature of a 0-based step: the levels are spread evenly over the steps."""
        config = self.config
        first = min(config.tau_first, config.tau_levels - 1)
        level = first + step * (config.tau_levels - first) // config.steps
        return temperature(
            min(level, config.tau_levels - 1),
            config.tau_levels,
            largest=config.tau_max,
            smallest=config.tau_min,
            floor=config.tau_floor,
        )

    # -- updates of choice weights -------------------------------------------------------------

    def _updater(self, role: Role, pair: Pair) -> Callable[[Turn], None] | None:
        """Return what updates the choice weights of one network, None where it has none."""
        if role not in self.weights:
            return None
        own = list((pair.generator if role == "generator" else pair.discriminator).parameters())
        everything = [*pair.generator.parameters(), *pair.discriminator.parameters()]
        choices = self.weights[role].parameters()

        def update(turn: Turn) -> None:
            weights = [p for p in own if p.requires_grad]
            with self._attached(role, pair, everything):
                found = choice_gradients(
                    lambda held_out: turn.loss(role, held_out),
                    choices,
                    weights,
                    self.config.amending,
                )
            for parameter, gradient in zip(choices, found, strict=True):
                parameter.grad = gradient
            self._optimisers[role].step()
            self._optimisers[role].zero_grad(set_to_none=True)

        return update

    @contextmanager
    def _attached(
        self, role: Role, pair: Pair, weights: Sequence[torch.nn.Parameter]
    ) -> Iterator[None]:
        """Let gradients reach one network's choice weights, and none of the networks' ``weights``.

        For the second-order gradient, losses must be repeatable: all noise is held, and
        statistics are put back.
        """
        self._mixers[role].differentiable = True
        second = self.config.amending > 0
        try:
            if not second:
                with fixed(weights):
                    yield
                return
            for name, mixer in self._mixers.items():
                self._mix(name)
                mixer.held = True
            with unmoved(pair.generator, pair.discriminator):
                yield
        finally:
            self._mixers[role].differentiable = False
            for mixer in self._mixers.values():
                mixer.held = False

    # -- derivation ----------------------------------------------------------------------------

    def _derive(self) -> None:
        choices = self._current_choices()
        self.derived.append((self.steps, choices))
        codes = self.space.encode(Architecture(self.space.name, choices))
        self.search.emit("derived", at=self.steps, codes=codes)

    def _tell_weights(self) -> None:
        """Journal the choice weights, for curves over the search."""
        told: dict[str, dict[str, float]] = {}
        for weights in self.weights.values():
            told |= weights.shares()
        self.search.emit("choice-weights", at=self.steps, weights=told)

    def _current_choices(self) -> dict[str, str]:
        """Return the choices that the choice weights amount to now, D's included."""
        tables: dict[str, list[float]] = {}
        for weights in self.weights.values():
            tables |= weights.tables()
        over_edges = self.config.derive_over_edges
        derived = derive(self._narrowed(), tables, over_edges=over_edges)
        return dict(derived.choices)

    def _narrowed(self) -> SearchSpace:
        return self.space.freeze(self._discriminator())

    def _for_run(self, choices: Mapping[str, str]) -> dict[str, str]:
        """Return only the choices of the run's space: D's are left out where it fixes D."""
        known = {d.name for d in self.search.space.decisions}
        return {name: option for name, option in choices.items() if name in known}

    # -- spaces --------------------------------------------------------------------------------

    def _searched(self, space: SearchSpace) -> SearchSpace:
        if self.config.search_discriminator and isinstance(space, AdversarialSpace):
            return space.with_searched_discriminator()
        return space

    def _discriminator(self) -> dict[str, str]:
        """Return choices, drawn once from the seed, for a D that has no supernet; else none."""
        if self._drawn is None:
            self._drawn = self._draw_discriminator()
        return self._drawn

    def _draw_discriminator(self) -> dict[str, str]:
        decisions = [d for d in self.space.decisions if d.role == "discriminator"]
        if not decisions or _has_supernet(self.space):
            return {}
        rng = self.search.randomness.child("adversarialnas/discriminator").numpy("draw")
        drawn = self.space.sample(rng).choices
        return {d.name: drawn[d.name] for d in decisions if d.name in drawn}

    # -- reports and state ---------------------------------------------------------------------

    def _state_of_play(self) -> dict[str, float]:
        entropies = {f"entropy_{role}": w.entropy() for role, w in self.weights.items()}
        decisions = sum(len(w.options) for w in self.weights.values())
        total = sum(w.entropy() * len(w.options) for w in self.weights.values())
        tau = self._temperature(max(0, self.steps - 1))
        return {"entropy": total / max(1, decisions), **entropies, "temperature": tau}

    def _report(self, values: dict[str, float], done: bool) -> StepReport:
        message = f"supernet {self.steps}/{self.config.steps}, entropy {values['entropy']:.3f}"
        share = self.steps / self.config.steps
        return StepReport(message, done=done, share=share, values=values, milestone=done)

    def state_dict(self) -> dict[str, Any]:
        """Return supernets, choice weights, their optimisers and the derivations so far."""
        training = self._training
        return {
            "steps": self.steps,
            "failure": self.failure,
            "derived": [[step, choices] for step, choices in self.derived],
            "weights": {role: w.state_dict() for role, w in self.weights.items()},
            "optimisers": {
                role: optimiser_state(optimiser, self.weights[role].logits)
                for role, optimiser in self._optimisers.items()
            },
            "training": None if training is None else training.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps, self.failure = state["steps"], state["failure"]
        self.derived = [(step, dict(choices)) for step, choices in state["derived"]]
        self._training = None
        if state["training"] is None:
            return
        self._current().load_state_dict(state["training"])
        for role, weights in self.weights.items():
            weights.load_state_dict(state["weights"][role])
            saved = state["optimisers"][role]
            load_optimiser_state(self._optimisers[role], weights.logits, saved)


def _has_supernet(space: SearchSpace) -> bool:
    """Return whether D can be built with its decisions open."""
    try:
        with torch.device("meta"):
            build(space, "discriminator", {})
    except SpaceError:
        return False
    return True
