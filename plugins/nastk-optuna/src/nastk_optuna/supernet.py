"""A supernet trained along paths drawn uniformly, and candidates rated with its weights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from attrs import evolve, field, frozen

from nastk.attempts import FAILURES, Attempt, Job, Outcome, reason_of, status_of
from nastk.errors import SpaceError
from nastk.evaluator import Candidate
from nastk.metrics.bank import BATCH, show_training_inputs
from nastk.nn.choice import Network, build
from nastk.nn.norms import recalibrated
from nastk.nn.transfer import transfer
from nastk.records import Architecture, Budget, Cost, Evaluation, Role, Trial
from nastk.trainer import Pair, Plan, Progress, Training

if TYPE_CHECKING:
    from nastk.executor import Executor
    from nastk.search import Search
    from nastk.space import SearchSpace

SUPERNET = "supernet"
"""Ledger phase of training the shared weights."""

RATING = "rating"
"""Ledger phase of rating candidates with them."""

ROLES: tuple[Role, ...] = ("generator", "discriminator")


def opens(space: SearchSpace, role: Role) -> bool:
    """Return whether the network can be built with its decisions open; computes nothing."""
    try:
        with torch.device("meta"):
            build(space, role, {})
    except (SpaceError, NotImplementedError):
        return False
    return True


class Supernet:
    """Generator and discriminator with their decisions open, in training.

    Every turn of D runs a path of its own, drawn uniformly from the space, and G's update the last
    of a step. No average of the weights is kept: it would average over paths.

    Args:
        search: whose trainer builds and trains.
        space: of the paths; a discriminator that cannot be open is decided in it.
        number: of supernets before it; each has streams of its own.
    """

    def __init__(self, search: Search, space: SearchSpace, number: int) -> None:
        self._rng = search.randomness.numpy("random-sharing/paths")
        self._space = space
        streams = search.randomness.child(f"random-sharing/supernet{number}")
        generator, discriminator = (
            search.trainer.build(space, role, {}, streams) for role in ROLES
        )
        self.pair = Pair(generator, discriminator, space)
        plan = Plan(phase=SUPERNET, turn=self._draw_path, ema=False)
        self.training: Training = search.trainer.begin(self.pair, plan, streams)

    def advance(self, steps: int) -> Progress:
        """Train for ``steps`` updates of G.

        Raises:
            TrialError: the health policy gave the networks up.
        """
        return self.training.advance(Budget(steps))

    def activate(self, architecture: Architecture) -> None:
        """Run one path; inactive decisions take their first option.

        So what runs depends on the architecture alone, and not on what ran before.
        """
        for network in (self.pair.generator, self.pair.discriminator):
            first = {name: known[0] for name, known in network.selection.options.items()}
            network.activate({**first, **architecture.choices})

    def _draw_path(self, step: int) -> None:
        self.activate(self._space.sample(self._rng))


@frozen
class Rating(Attempt):
    """Candidates rated as derived networks that hold the shared weights; nothing is trained.

    Attributes:
        search: whose parts are used.
        supernet: trained; only its active path changes.
        batches: of :data:`nastk.metrics.bank.BATCH` training inputs, which measure each candidate's
            batch-norm statistics: those of the supernet mix all paths.
    """

    search: Search = field(kw_only=True, eq=False, repr=False)
    supernet: Supernet = field(kw_only=True, eq=False, repr=False)
    batches: int = field(kw_only=True)

    @property
    def phase(self) -> str:
        """The ledger's phase of this work."""
        return RATING

    def key(self, architecture: Architecture) -> str:
        """Return what an outcome depends on: the architecture alone, for the weights stand."""
        return f"{architecture.fingerprint}/shared weights"

    def run(self, jobs: Sequence[Job], executor: Executor) -> Iterable[Outcome]:
        """Return what comes of each job, in order; the weights are here, so all run here."""
        return map(self, jobs)

    def __call__(self, job: Job) -> Outcome:
        """Derive and measure one candidate; a failure is an outcome."""
        began = time.perf_counter()
        trial = Trial(job.number, job.architecture, "ok", Cost())
        generator: Network | None = None
        try:
            generator, discriminator = self._derived(job.architecture)
            trial = evolve(trial, evaluation=self._evaluated(trial, generator, discriminator))
        except FAILURES as error:
            trial = evolve(trial, status=status_of(error), reason=reason_of(error))
        macs = 0 if generator is None else self._macs(generator, trial.evaluation)
        cost = Cost(macs=macs, seconds=time.perf_counter() - began)
        return Outcome(evolve(trial, cost=cost))

    def _derived(self, architecture: Architecture) -> tuple[Network, Network]:
        """Return a candidate's networks in eval mode, with copies of the shared weights."""
        self.supernet.activate(architecture)
        shared = self.supernet.pair
        streams = self.randomness.child("random-sharing/derive")
        found = []
        for source in (shared.generator, shared.discriminator):
            network = self.trainer.build(self.space, source.role, architecture.choices, streams)
            transfer(source, network)
            found.append(network.eval())
        return found[0], found[1]

    def _evaluated(self, trial: Trial, generator: Network, discriminator: Network) -> Evaluation:
        candidate = Candidate(trial.architecture, self.space, generator, discriminator)
        with recalibrated(generator, lambda: self._show(generator)):
            return self.evaluator.evaluate([candidate], self.split, self.randomness)[0]

    def _show(self, generator: Network) -> None:
        """Pass a fixed bank of training inputs through a candidate."""
        search, streams = self.search, self.randomness.child("random-sharing/recalibration")
        show_training_inputs(
            generator, self.space.input, search.dataset, self.batches, streams, search.device
        )

    def _macs(self, generator: Network, evaluation: Evaluation | None) -> int:
        """Return the MACs of all images that a rating made."""
        from nastk.nn.inspect import cost

        _, each = cost(self.space, generator.choices)
        cards = [m.card for m in evaluation.metrics.values()] if evaluation is not None else []
        made = max((card.n_fake for card in cards), default=0)
        return each * (self.batches * BATCH + made)
