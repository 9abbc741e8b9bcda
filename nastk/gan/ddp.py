"""A training whose batches are shared out among the ranks of ``torchrun``.

Every rank draws the whole batch from the same streams and takes its share, so that the streams are
those of one rank alone. Networks, optimisers and averages are then equal on all ranks: they start
from rank 0's state and see the same sums.

There is no ``DistributedDataParallel`` here. Its reduction is tied to one forward and one backward
pass through a wrapper, while D runs twice or more an update, G's update goes through a frozen D,
and a batch may pass in parts. One sum over all gradients before each optimiser step does for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nastk.errors import ConfigError, NastkError, PairError, TrialError
from nastk.gan.config import TrainerConfig
from nastk.gan.guided import CALLBACKS, TURNS, Following, Leading
from nastk.gan.health import HealthPolicy
from nastk.gan.turn import Shown, portion
from nastk.messages import to_bytes
from nastk.objective import Objective
from nastk.randomness import derive_seed
from nastk.ranks import Team, team
from nastk.records import Budget, to_json
from nastk.space import SearchSpace
from nastk.trainer import Pair, Plan, Training

_PLAIN = (
    "phase", "horizon", "train_generator", "train_discriminator", "n_critic", "ema",
)  # fmt: skip
"""What of a plan can be told to other ranks as it is."""


class Alone:
    """A training that has all of every batch, in one process.

    Args:
        plan: of the training.

    Attributes:
        plan: to go by.
        size: processes that share a batch.
    """

    size = 1

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def policy(self, policy: HealthPolicy) -> HealthPolicy:
        """Return what judges in this process, given the training's policy."""
        return policy

    @contextmanager
    def at_work(self, training: Training, budget: Budget) -> Iterator[None]:
        """Surround ``training.advance(budget)``."""
        yield

    def forget(self) -> None:
        """Take note that the state was replaced."""

    def begin_step(self, seed: int, step: int) -> None:
        """Prepare for a step of a training with streams of ``seed``."""

    def share(self, shown: Shown) -> Shown:
        """Return the part of a batch that this process is to run."""
        return shown

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by those of the whole batch."""

    def means(self, values: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return losses of the whole batch, given those of this process's share."""
        return values

    def agreed(self, numbers: list[float]) -> list[float]:
        """Return what all decide upon."""
        return numbers


class Sharing(Alone):
    """A training that has an equal share of every batch.

    Args:
        team: all ranks.
        pair: this rank's networks.
        plan: of the training.
    """

    def __init__(self, team: Team, pair: Pair, plan: Plan) -> None:
        self._guided = (Leading if team.leads else Following)(team, pair, plan)
        super().__init__(self._guided.plan)
        self._team = team
        self._asked = plan
        self._left: Tensor | None = None
        self.size = team.size

    def policy(self, policy: HealthPolicy) -> HealthPolicy:
        """Return rank 0's policy, which tells its verdicts, or what obeys it."""
        return self._guided.policy(policy)

    @contextmanager
    def at_work(self, training: Training, budget: Budget) -> Iterator[None]:
        """Have the other ranks train along, with batch norms that see the whole batch.

        Raises:
            NastkError: anything but a failure that all ranks meet alike.
        """
        me, sums = self._team, _sums(training.pair)
        if me.leads:
            known = me.current is self and _same_bits(self._left, sums)
            told = None if known else _told(training, self._asked)
            me.tell(to_bytes({"begin": told, "budget": to_json(budget)}))
        me.current, me.busy = self, True
        try:
            self._check_equal(sums)
            with synchronised([training.pair.generator, training.pair.discriminator], me):
                yield
        except TrialError:
            me.current, me.busy = None, False
            raise
        except RuntimeError as error:
            raise NastkError(f"rank {me.rank} failed: {' '.join(str(error).split())}") from error
        me.busy = False
        if me.leads:  # to notice what a strategy changes before it goes on
            self._left = _sums(training.pair)

    def forget(self) -> None:
        """Take note that the state was replaced: the others need it before they go on."""
        if self._team.current is self:
            self._team.current = None

    def begin_step(self, seed: int, step: int) -> None:
        """Let what other ranks draw from the global generators differ from rank 0's draws.

        Rank 0's stream goes on from step to step and is saved. The others' begin anew, so that
        they need not be.
        """
        if not self._team.leads:
            torch.manual_seed(derive_seed(seed, f"rank{self._team.rank}/{step}"))

    def share(self, shown: Shown) -> Shown:
        """Return this rank's part of a batch.

        Raises:
            ConfigError: the batch cannot be shared equally.
        """
        for size in (len(shown.images), len(shown.drawn.condition)):
            _check_size("a batch", size, self.size)
        return portion(shown, self._team.rank, self.size)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over the ranks, which have equal shares."""
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        self._team.add_up(flat)
        flat /= self.size
        for grad, mean in zip(
            grads, flat.split_with_sizes([g.numel() for g in grads]), strict=True
        ):
            grad.copy_(mean.view(grad.shape))

    def means(self, values: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the means over the ranks."""
        if not values:
            return values
        flat = torch.tensor([v for row in values.values() for v in row], dtype=torch.float64)
        self._team.add_up(flat)
        left = iter((flat / self.size).tolist())
        return {name: [next(left) for _ in row] for name, row in values.items()}

    def agreed(self, numbers: list[float]) -> list[float]:
        """Return rank 0's numbers, so that all ranks judge alike."""
        return self._team.leaders(numbers)

    def _check_equal(self, sums: Tensor) -> None:
        """Refuse to train networks that are not rank 0's, which nothing should bring about."""
        if not _same_bits(torch.tensor(self._team.leaders(sums.tolist()), dtype=sums.dtype), sums):
            raise NastkError(
                f"rank {self._team.rank}: its networks are no longer those of rank 0",
                "ranks need GPUs and libraries of one kind",
            )


def ranked(config: TrainerConfig, objective: Objective, pair: Pair, plan: Plan) -> Alone:
    """Return how a training shares its batches: among all ranks, where there are several.

    Raises:
        ConfigError: see :func:`check_ranks`.
        PairError: likewise, or the plan needs one process.
    """
    here = team()
    if here is None:
        return Alone(plan)
    check_ranks(config, objective)
    for name in Plan.__annotations__:
        if name not in (*_PLAIN, *CALLBACKS, "trainable", "health") and getattr(plan, name):
            raise PairError(
                f"a plan with '{name}' cannot be followed by {here.size} ranks",
                "run it without torchrun",
            )
    if any(getattr(plan, name) is not None for name in TURNS):
        _check_size("trainer.batch_size, which is halved", config.batch_size, 2 * here.size)
    return Sharing(here, pair, plan)


def check_ranks(config: TrainerConfig, objective: Objective) -> None:
    """Refuse settings with which several ranks would not do what one does.

    Raises:
        ConfigError: batches that have no equal shares, or a setting that differs by process.
        PairError: the objective couples the images of a batch.
    """
    here = team()
    if here is None:
        return
    _check_size("trainer.batch_size", config.batch_size, here.size)
    _check_size("trainer.g_batch_size", config.g_batch_size, here.size)
    for name, refused, wanted in (("compile", config.compile != "off", "off"),
                                  ("forms", config.forms == "measure", "auto")):  # fmt: skip
        if refused:
            raise ConfigError(
                f"trainer.{name}: got {getattr(config, name)} with {here.size} ranks, "
                f"expected {wanted}"
            )
    if not objective.micro_batching or objective.state_dict():
        raise PairError(
            f"objective '{objective.name}' looks at a batch as a whole, which {here.size} ranks "
            "have in parts",
            "run it without torchrun",
        )


def _check_size(what: str, size: int, ranks: int) -> None:
    if size % ranks:
        raise ConfigError(f"{what}: got {size}, expected a multiple of {ranks}, for all ranks")


def _told(training: Training, plan: Plan) -> dict[str, Any]:
    """Return what another rank needs to have a copy of a training."""
    pair = training.pair
    return {
        "space": _told_space(pair.space),
        "blocks": pair.blocks,
        "generator": dict(pair.generator.choices),
        "discriminator": dict(pair.discriminator.choices),
        "plan": {name: getattr(plan, name) for name in _PLAIN},
        "callbacks": [name for name in CALLBACKS if getattr(plan, name) is not None],
        "trainable": _trainable(pair.generator, plan.trainable),
        "state": training.state_dict(),
    }


def _told_space(space: SearchSpace) -> dict[str, Any]:
    return {
        "identity": space.identity,
        "settings": dict(space.settings),
        "allowed": {d.name: list(d.allowed) for d in space.decisions},
    }


def _trainable(network: nn.Module, selects: Callable[[str], bool] | None) -> list[str] | None:
    """Return the names of all that is selected, None where everything is."""
    if selects is None:
        return None
    names = [name for name, _ in [*network.named_parameters(), *network.named_buffers()]]
    return [name for name in names if selects(name)]


def _sums(pair: Pair) -> Tensor:
    """Return the sum of every parameter and buffer: equal networks have equal ones."""
    networks = (pair.generator, pair.discriminator)
    tensors = [t for n in networks for t in (*n.parameters(), *n.buffers())]
    return torch.stack([t.detach().double().sum() for t in tensors]).cpu()


def _same_bits(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and torch.equal(a.view(torch.int64), b.view(torch.int64))


# -- batch norm over all ranks -------------------------------------------------------------------


@contextmanager
def synchronised(networks: Sequence[nn.Module], team: Team) -> Iterator[None]:
    """Let batch norms take their statistics over the batches of all ranks, in this block only.

    ``SyncBatchNorm`` does so on CUDA alone, and cannot be differentiated twice, which gradient
    penalties need.
    """
    norms = [m for n in networks for m in n.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.forward = partial(_normalised, norm, team)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward  # that of its class again


def _normalised(norm: _BatchNorm, team: Team, x: Tensor) -> Tensor:
    """Return what ``norm`` makes of this rank's share of a batch."""
    if not norm.training and norm.running_mean is not None:
        return type(norm).forward(norm, x)
    values = x if x.dtype == torch.float64 else x.float()
    axes = [axis for axis in range(x.ndim) if axis != 1]
    own_var, own_mean = torch.var_mean(values, axes, unbiased=False)
    rows = torch.stack([own_mean, own_var])[None]
    before, after = team.rank, team.size - team.rank - 1
    rows = torch.cat([rows.new_zeros(before, *rows.shape[1:]), rows,
                      rows.new_zeros(after, *rows.shape[1:])])  # fmt: skip
    # By the means and variances of the ranks: squares would lose digits that the means hold.
    rows = _Sum.apply(rows, team)
    mean = rows[:, 0].mean(0)
    var = rows[:, 1].mean(0) + (rows[:, 0] - mean).square().mean(0)
    if norm.training and norm.running_mean is not None:
        _track(norm, mean, var, team.size * x.numel() // x.shape[1])
    scale = torch.rsqrt(var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = [1, -1] + [1] * (x.ndim - 2)
    return torch.addcmul(shift.view(shape), values, scale.view(shape)).to(x.dtype)


@torch.no_grad()
def _track(norm: _BatchNorm, mean: Tensor, var: Tensor, count: int) -> None:
    """Move the running statistics as one batch norm would that sees ``count`` values a channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    share = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        share = 1.0 / float(norm.num_batches_tracked) if share is None else share
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share or 0.0)
    unbiased = var * (count / max(count - 1, 1))
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), share or 0.0)


class _Sum(torch.autograd.Function):
    """The sum over the ranks, as often differentiable as wanted: its gradient is one too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, team: Team) -> Tensor:
        ctx.team = team
        total = values.clone(memory_format=torch.contiguous_format)
        team.add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.team), None
