"""The table: what every member came to, with several seeds, at several fidelities.

Needs neither torch nor a folder; a query is a few lookups.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk.errors import ConfigError, SpaceError
from nastk.records import Architecture, Choices, Cost, MetricCard, Status
from nastk_bench.protocol import MEASURED, Protocol

if TYPE_CHECKING:
    from nastk_bench.space import NanoSpace

STATUSES: tuple[Status, ...] = (
    "ok",
    "diverged",
    "collapsed",
    "out-of-memory",
    "timed-out",
    "crashed",
)


@frozen
class Answer:
    """What the table says of one training at one fidelity.

    Attributes:
        status: ``ok``, or why the training had failed by then.
        metrics: name → value on the split asked for, None: not measured; empty where it failed.
        cost: of the training up to there; seconds are CPU seconds of one thread.
    """

    status: Status
    metrics: Mapping[str, float | None]
    cost: Cost


@frozen(eq=False)
class Table:
    """Outcomes of M members with S seeds at F fidelities, K metrics each.

    Attributes:
        protocol: how they came about.
        cards: split → metric → card.
        versions: library → version, of the build.
        codes: integer codes of the M members.
        members: fingerprint → row.
        parameters: ``(M,)`` of the generator.
        macs: ``(M,)`` of one generated image.
        step_macs: ``(M,)`` of one training step.
        step_images: real images of one training step.
        status: ``(M, S, F)`` indices into :data:`STATUSES`.
        trained: ``(M, S, F)`` generator updates made, fewer than the fidelity where it failed.
        validation: ``(M, S, F, K)``, NaN where not measured.
        test: ``(M, S, K)`` at the last fidelity.
        seconds: ``(M, S, F)`` CPU seconds of training from its start.
        measuring: ``(M, S, F)`` CPU seconds of one measurement.
        hash: of the content, 12 hex digits.
    """

    protocol: Protocol
    cards: Mapping[str, Mapping[str, MetricCard]]
    versions: Mapping[str, str]
    codes: tuple[str, ...]
    members: Mapping[str, int]
    parameters: NDArray[np.int64]
    macs: NDArray[np.int64]
    step_macs: NDArray[np.int64]
    step_images: int
    status: NDArray[np.int64]
    trained: NDArray[np.int64]
    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: NDArray[np.float64]
    measuring: NDArray[np.float64]
    hash: str

    @property
    def seeds(self) -> int:
        """Number of trainings of every member."""
        return int(self.status.shape[1])

    @cached_property
    def space(self) -> NanoSpace:
        """The whole space of the table; imports torch."""
        from nastk_bench.protocol import nano_space

        return nano_space(self.protocol)

    def row(self, member: Architecture | Choices) -> int:
        """Return the row of a member, given as it is or as any genotype of the same network.

        Raises:
            SpaceError: no member of the table.
        """
        if isinstance(member, Architecture):
            row = self.members.get(member.fingerprint)
            if row is not None:
                return row
            member = member.choices
        whole = self.space.architecture(member)
        row = self.members.get(whole.fingerprint)
        if row is None:
            codes = self.space.encode(whole)
            raise SpaceError(f"benchmark '{self.protocol.name}': no member has the codes '{codes}'")
        return row

    def fidelity(self, steps: int) -> int:
        """Return the index of the fidelity of so many steps.

        Raises:
            ConfigError: the table has no measurement after that many steps.
        """
        known = self.protocol.fidelities
        index = bisect_left(known, steps)
        if index == len(known) or known[index] != steps:
            raise ConfigError(
                f"benchmark '{self.protocol.name}': nothing was measured after {steps} steps, "
                f"expected one of {', '.join(map(str, known))}",
                "set strategy.steps and final.steps to one of them",
            )
        return index

    def query(
        self,
        member: Architecture | Choices,
        seed: int,
        fidelity: int | None = None,
        split: str = "validation",
    ) -> Answer:
        """Return what one training came to.

        Args:
            member: of the space, or the choices of any genotype.
            seed: 0 to ``seeds`` - 1.
            fidelity: generator updates; None: the whole training.
            split: ``validation``, or ``test`` after the whole training.

        Raises:
            SpaceError: no member of the table.
            ConfigError: no such seed, split or fidelity.
        """
        steps = self.protocol.steps if fidelity is None else fidelity
        return self.at(self.row(member), seed, self.fidelity(steps), split)

    def at(self, row: int, seed: int, index: int, split: str = "validation") -> Answer:
        """Return what one training came to, by row and index of the fidelity.

        Raises:
            ConfigError: no such seed.
        """
        if not 0 <= seed < self.seeds:
            raise ConfigError(f"seed: got {seed}, expected 0 to {self.seeds - 1}")
        status = STATUSES[self.status[row, seed, index]]
        metrics: dict[str, float | None] = {}
        if status == "ok":
            values = self._values(row, seed, index, split)
            named = zip(MEASURED, values.tolist(), strict=True)
            metrics = {name: None if math.isnan(value) else value for name, value in named}
            metrics["parameters"] = float(self.parameters[row])
            metrics["macs"] = float(self.macs[row])
        return Answer(status, metrics, self.cost(row, seed, int(self.trained[row, seed, index])))

    def cost(self, row: int, seed: int, steps: int) -> Cost:
        """Return what so many steps cost; seconds lie on a line between two fidelities."""
        known = (0.0, *self.trained[row, seed].tolist())
        taken = (0.0, *self.seconds[row, seed].tolist())
        return Cost(
            steps=steps,
            images=steps * self.step_images,
            macs=steps * int(self.step_macs[row]),
            seconds=float(np.interp(steps, known, taken)),
        )

    def failed_at(self, row: int, seed: int) -> tuple[int, Status] | None:
        """Return after how many steps a training was found to have failed, and how; or None."""
        for index in range(len(self.protocol.fidelities)):
            status = STATUSES[self.status[row, seed, index]]
            if status != "ok":
                return int(self.trained[row, seed, index]), status
        return None

    def _values(self, row: int, seed: int, index: int, split: str) -> NDArray[np.float64]:
        if split == "validation":
            return cast("NDArray[np.float64]", self.validation[row, seed, index])
        last = len(self.protocol.fidelities) - 1
        if split != "test" or index != last:
            raise ConfigError(
                f"benchmark '{self.protocol.name}': got split '{split}' after "
                f"{self.protocol.fidelities[index]} steps, expected validation, or test after "
                f"{self.protocol.steps}"
            )
        return cast("NDArray[np.float64]", self.test[row, seed])

    def scores(self, metric: str = "log_fd", split: str = "validation") -> NDArray[np.float64]:
        """Return ``(M, S)`` values after the whole training, NaN where it failed."""
        column = MEASURED.index(metric)
        values = self.validation[:, :, -1] if split == "validation" else self.test
        return values[..., column]
