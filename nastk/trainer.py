"""``Trainer``: builds networks and trains a pair (G, D), derived or supernet, to a budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from nastk.records import Budget, Choices, Cost, Role

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nastk.nn.choice import Network
    from nastk.objective import Objective
    from nastk.randomness import Randomness
    from nastk.space import SearchSpace
    from nastk.strategy import Strategy


@define
class Pair:
    """A generator and a discriminator that train against each other.

    Attributes:
        generator: derived or supernet.
        discriminator: derived or supernet.
        space: the space both were built from.
        blocks: prefix length in blocks, None for the whole.
    """

    generator: Network
    discriminator: Network
    space: SearchSpace
    blocks: int | None = None


class Turn(Protocol):
    """One turn of a training whose real batches are halved; see ``Plan.before_discriminator``."""

    def loss(self, role: Role, held_out: bool = True) -> Tensor:
        """Return the loss of one network, a scalar with gradients; nothing is updated.

        The cost is entered. Asked again within the turn, the same images and inputs are used.
        Where several ranks share the training, gradients reach mixture weights only.

        Args:
            role: whose loss: D's on real and generated images, or G's.
            held_out: on the half that the turn's weight updates do not see, else on the one
                that they do.
        """


@frozen
class Plan:
    """How a pair is to be trained. None means: as the trainer is configured.

    Attributes:
        phase: name under which the cost is entered in the ledger.
        horizon: generator updates after which progress is 1 (schedules); None: open end.
        path: called with the step number before every step; may activate a path in either network.
        turn: called with the step number before every turn of D; likewise. G's update runs what
            the step's last turn ran.
        train_generator: whether G is updated.
        trainable: given a parameter's name in G, whether it is updated; None: all.
        train_discriminator: whether D is updated.
        n_critic: turns of D per update of G, at least 1.
        ema: whether an average of G is kept.
        objective: another objective than the configured one.
        penalty: an extra loss term on G's step (e.g. on choice weights).
        health: a policy of this training's own, in place of the trainer's (for the GAN trainer a
            :class:`nastk.gan.health.HealthPolicy`).
        before_discriminator: called before every turn's update of D, for updates of another kind
            (choice weights). With it or the next one, every real batch is halved: the first half
            trains the weights, the second is held out for the callbacks.
        before_generator: likewise before every update of G.
        before_pass: called with the role before every forward pass of a network that the training
            makes; may set its mixture. A pass of a batch in parts is one pass.
    """

    phase: str = "train"
    horizon: int | None = None
    path: Callable[[int], None] | None = None
    turn: Callable[[int], None] | None = None
    train_generator: bool = True
    trainable: Callable[[str], bool] | None = None
    train_discriminator: bool = True
    n_critic: int | None = None
    ema: bool | None = None
    objective: Objective | None = None
    penalty: Callable[[], Any] | None = None
    health: Any = None
    before_discriminator: Callable[[Turn], None] | None = None
    before_generator: Callable[[Turn], None] | None = None
    before_pass: Callable[[Role], None] | None = None


@define
class Progress:
    """What one call of :meth:`Training.advance` did.

    Attributes:
        cost: of this call.
        losses: mean of each named loss over the call.
        health: quantities that the health policy looked at.
    """

    cost: Cost
    losses: Mapping[str, float] = field(factory=dict)
    health: Mapping[str, float] = field(factory=dict)


class Training(ABC):
    """One pair in training; everything that changes can be saved and restored.

    Attributes:
        pair: the live networks.
        cost: everything spent so far.
        averaged: whether :meth:`eval_generator` gives averaged weights unless told otherwise.
        recorded: whether its cost was measured earlier (a tabulated benchmark): the seconds in it
            then count, not those that go by.
    """

    pair: Pair
    cost: Cost
    averaged: bool = False
    recorded: bool = False

    @abstractmethod
    def advance(self, budget: Budget) -> Progress:
        """Train for ``budget`` more.

        Raises:
            TrialError: the health policy gave the pair up (status says why).
        """

    @abstractmethod
    def eval_generator(self, ema: bool = True) -> nn.Module:
        """Return G in eval mode, with averaged weights where kept and wanted."""

    def pictures(self, count: int = 64) -> Any:
        """Return ``(N, C, H, W)`` images in [-1, 1] of fixed inputs, N <= count, or None.

        Nothing advances; the same weights give the same images.
        """
        return None

    def drawing(self) -> dict[str, Any] | None:
        """Return what a drawing of both networks needs, as small JSON data, or None.

        Asked once, for the winner; see :func:`nastk.nn.drawing.drawing`. Nothing advances.
        """
        return None

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return networks, EMA, optimisers, data position, counters and RNGs."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, for networks of the same build."""


class Trainer(ABC):
    """Owns device, precision, optimisers, EMA, inputs and the health policy.

    Attributes:
        name: registered name.
        device: e.g. ``cpu`` or ``cuda:0``.
        halves: whether its trainings call a plan's ``before_…`` callbacks.
        shares: whether they share their batches among the ranks of ``torchrun``.
    """

    name: str
    device: str
    halves: bool = False
    shares: bool = False

    @abstractmethod
    def build(
        self,
        space: SearchSpace,
        role: Role,
        choices: Choices,
        randomness: Randomness,
        blocks: int | None = None,
    ) -> Network:
        """Return an initialised network on the device; undecided decisions stay choices.

        Advances the stream ``init`` of ``randomness`` only.
        """

    @abstractmethod
    def begin(self, pair: Pair, plan: Plan, randomness: Randomness) -> Training:
        """Return a training of ``pair``; nothing is spent yet.

        ``randomness`` belongs to the training from now on and is saved with it.
        """

    def unsupported(self, strategy: Strategy) -> str:
        """Return one line why this trainer cannot work with ``strategy``, else empty.

        Asked before the start.
        """
        return ""

    def smaller(self) -> Trainer | None:
        """Return a trainer that does the same in about half the memory; None where none can.

        Asked when a candidate ran out of memory; it is then tried once more.
        """
        return None

    def disinherits(self, space: SearchSpace) -> str:
        """Return one line why weights cannot pass between architectures of ``space``, else empty.

        Where it is empty, :meth:`bequest` and :meth:`inherit` work.
        """
        return f"trainer '{self.name}' passes no weights on"

    def bequest(self, training: Training) -> Any:
        """Return a copy of the live weights of both networks, a state tree."""
        raise NotImplementedError

    def inherit(self, pair: Pair, bequest: Any) -> float:
        """Put into fresh networks what another candidate's have for them; draws nothing.

        Args:
            pair: mutated in place; its training has not begun.
            bequest: what :meth:`bequest` returned for an architecture of the same space.

        Returns:
            Share of the pair's parameters that came from there, 0 to 1.
        """
        raise NotImplementedError
