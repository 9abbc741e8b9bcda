"""A training whose batches are shared out among the ranks of ``torchrun``.

Every rank draws the whole batch from the same streams and takes its share, so that the streams are
those of one rank alone. Networks, optimisers and averages are then equal on all ranks: they start
from rank 0's state and see the same sums.

There is no ``DistributedDataParallel`` here. Its reduction is tied to one forward and one backward
pass through a wrapper, while D runs twice or more an update, G's update goes through a frozen D,
and a batch may pass in parts. One sum over all gradients before each optimiser step does for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nastk.errors import ConfigError, NastkError, PairError, TrialError
from nastk.gan.config import TrainerConfig
from nastk.gan.turn import Shown, portion
from nastk.messages import to_bytes
from nastk.objective import Objective
from nastk.randomness import derive_seed
from nastk.ranks import Team, team
from nastk.records import Budget, to_json
from nastk.trainer import Pair, Plan, Training

_PLAIN = (
    "phase", "horizon", "train_generator", "train_discriminator", "n_critic", "ema",
)  # fmt: skip
"""What a plan may hold that other ranks are to follow: all else is code of one process."""


class Alone:
    """A training that has all of every batch, in one process.

    Attributes:
        size: processes that share a batch.
    """

    size = 1

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
        plan: of the training.
    """

    def __init__(self, team: Team, plan: Plan) -> None:
        self._team = team
        self._plan = plan
        self.size = team.size

    @contextmanager
    def at_work(self, training: Training, budget: Budget) -> Iterator[None]:
        """Have the other ranks train along, with batch norms that see the whole batch.

        Raises:
            NastkError: anything but a failure that all ranks meet alike.
        """
        me = self._team
        if me.leads:
            told = None if me.current is self else _told(training, self._plan)
            me.tell(to_bytes({"begin": told, "budget": to_json(budget)}))
        me.current, me.busy = self, True
        try:
            self._check_equal(training.pair)
            with synchronised([training.pair.generator, training.pair.discriminator], me):
                yield
        except TrialError:
            me.current, me.busy = None, False
            raise
        except RuntimeError as error:
            raise NastkError(f"rank {me.rank} failed: {' '.join(str(error).split())}") from error
        me.busy = False

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

    def _check_equal(self, pair: Pair) -> None:
        """Refuse to train networks that are not rank 0's, which nothing should bring about."""
        tensors = [*_tensors(pair.generator), *_tensors(pair.discriminator)]
        own = torch.stack([t.detach().double().sum().cpu() for t in tensors])
        told = torch.tensor(self._team.leaders(own.tolist()), dtype=torch.float64)
        if not torch.equal(own.view(torch.int64), told.view(torch.int64)):
            raise NastkError(
                f"rank {self._team.rank}: its networks are no longer those of rank 0",
                "ranks need GPUs and libraries of one kind",
            )


def ranked(config: TrainerConfig, objective: Objective, pair: Pair, plan: Plan) -> Alone:
    """Return how a training shares its batches: among all ranks, where there are several.

    Raises:
        ConfigError: see :func:`check_ranks`.
        PairError: likewise, or the plan or the networks need one process.
    """
    here = team()
    if here is None:
        return Alone()
    check_ranks(config, objective)
    other = [name for name in Plan.__annotations__ if name not in _PLAIN and getattr(plan, name)]
    if other or not (pair.generator.derived and pair.discriminator.derived):
        what = f"a plan with '{other[0]}'" if other else "a supernet"
        raise PairError(
            f"{here.size} ranks share the training of derived networks, got {what}",
            "run the search without torchrun",
        )
    return Sharing(here, plan)


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
        raise ConfigError(f"{what}: got {size}, expected a multiple of the {ranks} ranks")


def _told(training: Training, plan: Plan) -> dict[str, Any]:
    """Return what another rank needs to have a copy of a training."""
    pair = training.pair
    return {
        "space": pair.space.identity,
        "blocks": pair.blocks,
        "generator": dict(pair.generator.choices),
        "discriminator": dict(pair.discriminator.choices),
        "plan": {name: getattr(plan, name) for name in _PLAIN},
        "state": training.state_dict(),
    }


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


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
