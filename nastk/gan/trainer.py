"""``GanTrainer``: builds networks on its device and starts trainings of pairs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from attrs import evolve
from torch import nn

from nastk.data.resize import resized
from nastk.dataset import Dataset, Split
from nastk.errors import PairError
from nastk.gan.config import TrainerConfig
from nastk.gan.ddp import check_ranks
from nastk.gan.device import housed, keep_freed_memory
from nastk.gan.health import HealthPolicy, StandardHealth
from nastk.gan.loop import GanTraining
from nastk.gan.setting import Setting
from nastk.nn.accelerate import accelerate
from nastk.nn.choice import Network
from nastk.nn.choice import build as build_network
from nastk.nn.coupling import coupling
from nastk.nn.initialise import initialise
from nastk.nn.limits import affordable
from nastk.nn.measured import Measured
from nastk.nn.quick import quicken
from nastk.nn.snapshot import Snapshot
from nastk.nn.transfer import transfer
from nastk.objective import Objective
from nastk.passes import NetworkPass
from nastk.randomness import Randomness
from nastk.records import Choices, Role
from nastk.space import SearchSpace
from nastk.trainer import Pair, Plan, Trainer, Training


class GanTrainer(Trainer):
    """One adversarial training loop for all pairs: latent or masked inputs, any objective.

    A subclass may override :meth:`health_policy`.

    Args:
        config: settings.
        dataset: the training split is loaded onto the device once.
        objective: losses, unless a plan brings its own.
        passes: applied to every built network, by order, then name.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    name = "gan"
    halves = True
    shares = True

    def __init__(
        self,
        config: TrainerConfig,
        *,
        dataset: Dataset,
        objective: Objective,
        passes: Iterable[NetworkPass] = (),
        device: str = "cpu",
    ) -> None:
        check_ranks(config, objective)
        where = torch.device(device)
        if where.type == "cuda" and where.index is None:
            where = torch.device("cuda", 0)
        self.config = config
        self.dataset = dataset
        self.objective = objective
        self.passes = sorted(passes, key=lambda p: (p.order, p.name))
        self.device = str(where)
        if where.type == "cpu":
            keep_freed_memory()
        self._splits: dict[tuple[int, ...], Split] = {}
        self._undivided = False
        self._measured = Measured()

    def build(
        self,
        space: SearchSpace,
        role: Role,
        choices: Choices,
        randomness: Randomness,
        blocks: int | None = None,
    ) -> Network:
        """Return an initialised network on the device; undecided decisions stay choices.

        Order: constructors (global generator, scope ``init``), passes, initialisation scheme
        (stream ``init``).

        Raises:
            SpaceError: it is too large to build; see :mod:`nastk.nn.limits`.
        """
        affordable(space)
        with randomness.scoped("init"):
            network = build_network(space, role, choices, blocks)
        network.to(self.device)
        for change in self.passes:
            if role in change.roles:
                changed = change.apply(network, randomness)
                assert isinstance(changed, Network), f"pass '{change.name}' must keep the Network"
                network = changed
        initialise(network, self.config.init, randomness.torch("init"))
        return self._hastened(network)

    def _hastened(self, network: Network) -> Network:
        """Return ``network`` in the memory format and the forms that it runs fastest in."""
        if self.config.memory_format != "contiguous":
            network.to(memory_format=torch.channels_last)
        if self.config.forms != "plain":
            quicken(network)
        accelerate(network, self.config.forms, self._measured)
        return network

    def begin(self, pair: Pair, plan: Plan, randomness: Randomness) -> GanTraining:
        """Return a training of ``pair``; nothing is spent or drawn yet.

        Raises:
            PairError: the space's images are not of the data's channels, or the objective cannot
                be updated separately although the trainer is set to.
            ConfigError: a mask or batch size that does not fit.
        """
        split = self._split(pair)
        self._undivided = plan.train_discriminator and bool(coupling(pair.discriminator))
        setting = Setting(
            config=self.config,
            objective=plan.objective or self.objective,
            split=split,
            labelled=self.dataset.classes > 0,
            device=torch.device(self.device),
            passes=tuple(self.passes),
            health=plan.health or self.health_policy(),
            measured=self._measured,
        )
        return GanTraining(pair, plan, randomness, setting)

    def smaller(self) -> GanTrainer | None:
        """Return a trainer that runs half as many images at a time; None where it cannot.

        Where the discriminator that was begun last runs whole batches, that would help nobody.
        """
        most = self.config.micro_batch or max(self.config.batch_size, self.config.g_batch_size)
        if most < 2 or self._undivided or not self.objective.micro_batching:
            return None
        other = copy.copy(self)
        other.config = evolve(self.config, micro_batch=most // 2)
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return other

    def disinherits(self, space: SearchSpace) -> str:
        """Return nothing: weights pass between any two builds of a space."""
        return ""

    def bequest(self, training: Training) -> dict[str, Any]:
        """Return snapshots of the live networks, as a state tree."""
        pair = training.pair
        snapshots = [Snapshot.take(n, pair.blocks) for n in (pair.generator, pair.discriminator)]
        return {snapshot.role: snapshot.state_dict() for snapshot in snapshots}

    def inherit(self, pair: Pair, bequest: Mapping[str, Any]) -> float:
        """Put into fresh networks what another candidate's have for them; draws nothing."""
        copied = total = 0
        for network in (pair.generator, pair.discriminator):
            left = Snapshot.from_state(bequest[network.role])
            # Streams of its own: what constructors and passes draw is overwritten.
            empty = self.build(pair.space, left.role, left.choices, Randomness(0, self.device))
            report = transfer(left.network(pair.space, empty), network)
            copied += _parameters(m for m in network.modules() if id(m) in report.inherited)
            total += _parameters(network.modules())
        return copied / total if total else 0.0

    def health_policy(self) -> HealthPolicy:
        """Return a fresh policy for one training."""
        return StandardHealth(self.config)

    def _housed(self, split: Split) -> Split:
        return housed(split, torch.device(self.device), self.config.data)

    def _split(self, pair: Pair) -> Split:
        """Return the training split at the size of the pair's images, each size loaded once."""
        whole = self.dataset.shape
        image = pair.space.task.image
        if pair.blocks is not None:
            image = pair.space.prefix_task(pair.blocks).image
        if image[0] != whole[0]:
            raise PairError(
                f"space '{pair.space.name}' makes images of {image[0]} channels, data set "
                f"'{self.dataset.name}' has {whole[0]}"
            )
        size = tuple(image[1:])
        if size not in self._splits:
            if tuple(whole[1:]) not in self._splits:
                self._splits[tuple(whole[1:])] = self._housed(self.dataset.split("train", "cpu"))
            self._splits[size] = self._housed(
                resized(self._splits[tuple(whole[1:])], size[0], size[1])
            )
        return self._splits[size]


def _parameters(modules: Iterable[nn.Module]) -> int:
    """Return the number of parameters that the modules hold themselves."""
    own = {id(p): p.numel() for m in modules for p in m.parameters(recurse=False)}
    return sum(own.values())
