"""What rank 0 alone decides in a training that several ranks share, and how the others hear of it.

A plan's callbacks and its health policy are code of a strategy, and only rank 0 has the strategy at
work. They can do three things: set what a supernet runs, ask for the loss of a turn, give the pair
up. So rank 0 tells, before every pass of a supernet, what it runs; before every loss of a turn,
whose and on which half; after every look, the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from attrs import asdict, evolve, frozen
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nastk.errors import NastkError, PairError, TrialError
from nastk.gan.health import HealthPolicy, Observation
from nastk.nn.choice import Network, Selection
from nastk.ranks import Team
from nastk.records import Role
from nastk.trainer import Pair, Plan, Turn

Callback = Callable[[Any], None]

TURNS = ("before_discriminator", "before_generator")
CALLBACKS = ("path", "turn", "before_pass", *TURNS)
"""What of a plan rank 0 calls, for all ranks."""

_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64, torch.bfloat16)}


class Guided:
    """A plan as one rank goes through it.

    Args:
        team: all ranks.
        pair: this rank's networks.
        plan: as the strategy made it; on other ranks than 0 only which callbacks it has counts.

    Attributes:
        plan: with callbacks that talk to the other ranks.
    """

    def __init__(self, team: Team, pair: Pair, plan: Plan) -> None:
        self._team = team
        self._networks = {n.role: n for n in (pair.generator, pair.discriminator)}
        self._leaves: list[Tensor] | None = None
        self.plan = evolve(
            plan,
            path=self._steady(plan.path),
            turn=self._steady(plan.turn),
            before_pass=partial(self._pass, plan.before_pass),
            before_discriminator=self._met_by_all(plan.before_discriminator),
            before_generator=self._met_by_all(plan.before_generator),
        )

    def policy(self, policy: HealthPolicy) -> HealthPolicy:
        """Return what judges on this rank, given the training's policy."""
        raise NotImplementedError

    def _steady(self, callback: Callback | None) -> Callback | None:
        """Return what is called in place of a callback that sets paths."""
        raise NotImplementedError

    def _met_by_all(self, callback: Callback | None) -> Callback | None:
        return None if callback is None else partial(self._turn, callback)

    def _pass(self, callback: Callback | None, role: Role) -> None:
        """Let a network run what rank 0's does."""
        raise NotImplementedError

    def _turn(self, callback: Callback, turn: Turn) -> None:
        """Take part in the updates that rank 0 makes in a turn."""
        raise NotImplementedError

    def _mix(self, network: Network, weights: Mapping[str, Tensor], running: Any) -> None:
        """Set a mixture; its gradients end in this rank's own copies of the weights."""
        if self._leaves is not None:
            self._leaves += [w for w in weights.values() if w.requires_grad]
        network.mix(weights, running)

    def _loss(self, turn: Turn, role: Role, held_out: bool) -> list[Tensor]:
        """Return a loss of the whole batch, and its gradients for the mixture weights met.

        All ranks work out their share's at the same moment: batch norms talk in both passes.
        """
        self._leaves = []
        try:
            share, leaves = turn.loss(role, held_out), self._leaves
        finally:
            self._leaves = None
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if leaves and share.requires_grad:
            found = torch.autograd.grad(share, leaves, allow_unused=True)
        each = zip(leaves, found, strict=True)
        gradients = [torch.zeros_like(leaf) if g is None else g for leaf, g in each]
        return self._means([share.detach(), *gradients])

    def _means(self, values: Sequence[Tensor]) -> list[Tensor]:
        flat = torch.cat([v.reshape(-1) for v in values])
        self._team.add_up(flat)
        parts = (flat / self._team.size).split_with_sizes([v.numel() for v in values])
        return [part.view_as(v).to(v.dtype) for part, v in zip(parts, values, strict=True)]


class Leading(Guided):
    """Rank 0: the strategy's callbacks are called here, and what they do is told."""

    def __init__(self, team: Team, pair: Pair, plan: Plan) -> None:
        super().__init__(team, pair, plan)
        self._met: list[Tensor] = []

    def policy(self, policy: HealthPolicy) -> HealthPolicy:
        """Return the policy; its verdicts are told."""
        return _Announced(policy, self._team)

    def _steady(self, callback: Callback | None) -> Callback | None:
        return None if callback is None else partial(_called, callback)

    def _pass(self, callback: Callback | None, role: Role) -> None:
        if callback is not None:
            _called(callback, role)
        network = self._networks[role]
        if network.derived:
            return
        run = _Run.of(network.selection)
        if run.graded and self._leaves is None:
            raise PairError(
                f"the {role}'s mixture weights ask for gradients outside of a turn's loss, which "
                f"{self._team.size} ranks do not share",
                "run it without torchrun",
            )
        self._team.tell(_written(asdict(run)))
        if run.graded:
            weights = dict(network.selection.weights)
            self._met += [w for w in weights.values() if w.requires_grad]
            copies = {n: w.detach().requires_grad_(w.requires_grad) for n, w in weights.items()}
            self._mix(network, copies, network.selection.running)

    def _turn(self, callback: Callback, turn: Turn) -> None:
        _called(callback, _Asked(turn, self._told_loss))
        self._team.tell(_written({}))

    def _told_loss(self, turn: Turn, role: Role, held_out: bool) -> Tensor:
        """Return the loss of the whole batch, with gradients for the strategy's own weights."""
        self._team.tell(_written({"role": role, "held_out": held_out}))
        self._met = []
        value, *gradients = self._loss(turn, role, held_out)
        parameters = [p for p in self._networks[role].parameters() if p.requires_grad]
        if parameters:
            value = value + _Unshared.apply(self._team.size, *parameters)
        return _Known.apply(value, gradients, *self._met) if self._met else value


class Following(Guided):
    """Another rank: it does what it is told."""

    def policy(self, policy: HealthPolicy) -> HealthPolicy:
        """Return what gives up when rank 0 does."""
        return _Obedient(self._team)

    def _steady(self, callback: Callback | None) -> Callback | None:
        return None

    def _pass(self, callback: Callback | None, role: Role) -> None:
        network = self._networks[role]
        if network.derived:
            return
        run = _Run(**_read(self._team.hear()))
        network.activate(run.path)
        if run.weights:
            device = next(network.parameters()).device
            weights = {name: run.weight(name, device) for name in run.weights}
            self._mix(network, weights, run.running)

    def _turn(self, callback: Callback, turn: Turn) -> None:
        while told := _read(self._team.hear()):
            self._loss(turn, told["role"], told["held_out"])


# -- what is told --------------------------------------------------------------------------------


@frozen
class _Run:
    """What a supernet runs; see :class:`nastk.nn.choice.Selection`.

    Attributes:
        graded: decisions whose weights ask for gradients.
        dtypes: of the weights.
    """

    path: Mapping[str, str]
    weights: Mapping[str, Sequence[float]]
    running: Mapping[str, Sequence[str]]
    graded: Sequence[str]
    dtypes: Mapping[str, str]

    @classmethod
    def of(cls, selection: Selection) -> _Run:
        weights = selection.weights
        return cls(
            path=dict(selection.path),
            weights={name: w.tolist() for name, w in weights.items()},
            running={name: sorted(options) for name, options in selection.running.items()},
            graded=[name for name, w in weights.items() if w.requires_grad],
            dtypes={name: str(w.dtype) for name, w in weights.items()},
        )

    def weight(self, name: str, device: torch.device) -> Tensor:
        """Return the weights of one decision."""
        dtype = _DTYPES[self.dtypes[name]]
        values = torch.tensor(self.weights[name], dtype=dtype, device=device)
        return values.requires_grad_(name in self.graded)


def _written(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode()


def _read(message: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message)
    return found


def _called(callback: Callback, argument: Any) -> None:
    """Call a callback; one that gives the pair up ends the run, for others would go on.

    Raises:
        NastkError: it does.
    """
    try:
        callback(argument)
    except TrialError as error:
        raise NastkError(f"a callback gave up what other ranks go on with: {error}") from error


# -- turns ---------------------------------------------------------------------------------------


@frozen
class _Asked:
    """The turn that a strategy's callback sees on rank 0."""

    turn: Turn
    told_loss: Callable[[Turn, Role, bool], Tensor]

    def loss(self, role: Role, held_out: bool = True) -> Tensor:
        """Return the loss of the whole batch; see :class:`nastk.trainer.Turn`."""
        return self.told_loss(self.turn, role, held_out)


class _Known(torch.autograd.Function):
    """A number whose gradients were worked out before they are asked for."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return slope, None, *(slope * gradient for gradient in ctx.gradients)


class _Unshared(torch.autograd.Function):
    """Nothing, whose gradient for a network's parameters is refused."""

    @staticmethod
    def forward(ctx: Any, ranks: int, *parameters: nn.Parameter) -> Tensor:
        ctx.ranks = ranks
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        raise PairError(
            f"a plan's callback asks for gradients of a network's parameters, which {ctx.ranks} "
            "ranks do not share",
            "ask for those of the mixture weights alone, or run it without torchrun",
        )


# -- verdicts ------------------------------------------------------------------------------------


class _Announced(HealthPolicy):
    """A policy whose verdicts the other ranks hear."""

    def __init__(self, policy: HealthPolicy, team: Team) -> None:
        self._policy = policy
        self._team = team

    def observe(self, observation: Observation) -> Mapping[str, float]:
        try:
            values = dict(self._policy.observe(observation))
        except TrialError as error:
            told = {"message": error.message, "status": error.status}
            self._team.tell(_written({"given_up": told}))
            raise
        self._team.tell(_written({"values": values}))
        return values

    def state_dict(self) -> dict[str, Any]:
        return self._policy.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._policy.load_state_dict(state)


class _Obedient(HealthPolicy):
    """Judges as rank 0 did; the policy's state is rank 0's alone."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def observe(self, observation: Observation) -> Mapping[str, float]:
        told = _read(self._team.hear())
        if "given_up" in told:
            raise TrialError(**told["given_up"])
        values: dict[str, float] = told["values"]
        return values

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
