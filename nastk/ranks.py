"""The ranks of ``torchrun``: processes that train one network together, each a share of a batch.

Rank 0 leads: it alone searches, measures, writes and prints. The others wait for its messages and
train along with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import define

from nastk.errors import ConfigError, NastkError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(days=30)
"""How long the others wait for rank 0, which may be measuring; a dead one is noticed at once."""


class RankLostError(NastkError):
    """Another rank is gone, so that nothing can be trained together any more."""


def count() -> int:
    """Return how many ranks ``torchrun`` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def own_device(leader: str) -> str:
    """Return this rank's device, given that of rank 0: the GPU of its number on its machine.

    Raises:
        ConfigError: there are not as many, or rank 0 has not taken the first.
    """
    if not leader.startswith("cuda"):
        return leader
    import torch

    number, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if leader != "cuda:0" or here > torch.cuda.device_count():
        raise ConfigError(
            f"device '{leader}': {here} ranks take cuda:0 to cuda:{here - 1} of this machine, "
            f"which has {torch.cuda.device_count()} CUDA devices",
            "choose them with CUDA_VISIBLE_DEVICES, or use --device cpu",
        )
    return f"cuda:{number}"


@define(eq=False)
class Team:
    """All ranks, seen from one of them. What one calls, every other calls at the same moment.

    Attributes:
        rank: of this process; 0 leads.
        size: number of ranks.
        current: the training that the others have a copy of.
        busy: in the middle of work that all do, so that nothing else may be said.
    """

    rank: int
    size: int
    _control: Any
    current: Any = None
    busy: bool = False

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def tell(self, message: bytes) -> None:
        """Send a message from rank 0 to the others; an empty one is the last."""
        import torch

        self._broadcast(torch.tensor([len(message)]))
        if message:
            self._broadcast(torch.frombuffer(bytearray(message), dtype=torch.uint8))

    def hear(self) -> bytes:
        """Return the next message of rank 0."""
        import torch

        length = torch.zeros(1, dtype=torch.int64)
        self._broadcast(length)
        message = torch.empty(int(length), dtype=torch.uint8)
        if len(message):
            self._broadcast(message)
        return message.numpy().tobytes()

    def leaders(self, numbers: Sequence[float]) -> list[float]:
        """Return rank 0's numbers, of which every rank has as many."""
        import torch

        told = torch.tensor(numbers, dtype=torch.float64)
        self._broadcast(told)
        found: list[float] = told.tolist()
        return found

    def add_up(self, values: Tensor) -> None:
        """Replace ``values``, contiguous, any shape, by their sum over ranks; same bits on all."""
        import torch.distributed as dist

        with _noticing():
            dist.all_reduce(values)

    def _broadcast(self, values: Tensor) -> None:
        import torch.distributed as dist

        with _noticing():
            dist.broadcast(values, 0, group=self._control)


@contextmanager
def _noticing() -> Iterator[None]:
    """Say that a rank is gone where talking to it fails."""
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(
            "another rank of torchrun is gone; rank 0 cannot go on without it",
            "the same torchrun with: nastk resume FOLDER",
        ) from error


_team: Team | None = None


def team() -> Team | None:
    """Return the team that this process is in, None for one that works alone."""
    return _team


@contextmanager
def joined() -> Iterator[Team]:
    """Meet the other ranks; at the end of the block rank 0 sends them home."""
    global _team
    import torch
    import torch.distributed as dist

    place = int(os.environ.get("LOCAL_RANK", "0"))
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    if nccl and place < torch.cuda.device_count():
        torch.cuda.set_device(place)
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo")
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    _team = Team(dist.get_rank(), dist.get_world_size(), control)
    try:
        yield _team
    finally:
        me, _team = _team, None
        if not me.busy:  # else they are in the middle of a sum, and notice that this rank is gone
            if me.leads:
                me.tell(b"")
            dist.destroy_process_group()
