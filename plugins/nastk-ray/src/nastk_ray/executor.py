"""The executor ``ray``: every worker is an actor with resources of its own.

What is lost with a node or an actor is tried again elsewhere by nastk itself, not by Ray, so that
it is counted once. When the head of the cluster is gone the run ends and can be resumed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from typing import TYPE_CHECKING, Any

from attrs import define, field

from nastk.errors import ConfigError, NastkError
from nastk.workers.crew import Crew, Letter

if TYPE_CHECKING:
    from nastk_ray.config import RayConfig

WAIT = 5.0
"""Seconds between looks whether the head still answers."""


@define(eq=False)
class Hand:
    """An actor, and the answers that it owes, oldest first.

    Attributes:
        actor: Ray's handle.
        owed: Ray's references.
    """

    actor: Any
    owed: list[Any] = field(factory=list)


class RayExecutor(Crew):
    """Runs candidates on a Ray cluster; results are those of the executor ``in-process``.

    Args:
        settings: where the cluster is, and what a worker claims.
    """

    name = "ray"
    settings: RayConfig

    def __init__(self, settings: RayConfig) -> None:
        super().__init__(settings)
        self._hands: list[Hand] = []
        self._own = False

    def size(self) -> int:
        """Connect, and return how many workers the cluster has room for, or as set.

        Raises:
            ConfigError: the cluster cannot be reached, or not even one worker fits.
        """
        ray = self._connect()
        have = ray.cluster_resources()
        room = [
            int(have.get(name, 0.0) / share)
            for name, share in (("CPU", self.settings.cpus), ("GPU", self._gpus()))
            if share > 0
        ]
        if room and min(room) < 1:
            raise ConfigError(
                f"executor 'ray': got a cluster with {have.get('CPU', 0):g} CPUs and "
                f"{have.get('GPU', 0):g} GPUs, expected room for one worker of "
                f"{self.settings.cpus:g} CPUs and {self._gpus():g} GPUs",
                "lower executor.cpus or executor.gpus, or add nodes",
            )
        return self.settings.workers or min(room, default=1)

    def device(self) -> str:
        """Return ``cuda:0``, the device that Ray shows a worker, or ``cpu``."""
        assert self.world is not None
        return "cuda:0" if self.world.search.device.startswith("cuda") else "cpu"

    def hire(self, index: int) -> Hand:
        """Ask for an actor; Ray starts it where there is room."""
        from nastk_ray.actor import Actor

        assert self.world is not None
        threads = str(self.world.config.engine.threads)
        claims = {"num_cpus": self.settings.cpus, "num_gpus": self._gpus()}
        env = {"env_vars": {"OMP_NUM_THREADS": threads}}
        make = self._connect().remote(max_restarts=0, max_task_retries=0, **claims)(Actor)
        hand = Hand(make.options(runtime_env=env).remote())
        self._hands.append(hand)
        return hand

    def give(self, worker: Hand, message: bytes) -> None:
        """Call the actor; calls of one actor are answered in order."""
        worker.owed.append(worker.actor.answer.remote(message))

    def listen(self, seconds: float | None) -> Letter | None:
        """Wait for the first answer or loss.

        Raises:
            NastkError: the head of the cluster does not answer.
        """
        ray = self._connect()
        first = {hand.owed[0]: hand for hand in self._hands if hand.owed}
        left = seconds
        while True:
            patience = WAIT if left is None else min(WAIT, left)
            done, _ = ray.wait(list(first), num_returns=1, timeout=patience)
            if done:
                return self._opened(first[done[0]])
            self._check_head()
            if left is not None:
                left -= patience
                if left <= 0:
                    return None

    def dismiss(self, worker: Hand) -> None:
        """Kill the actor."""
        self._hands.remove(worker)
        with contextlib.suppress(Exception):  # Ray may be gone, or the actor already
            self._connect().kill(worker.actor)

    def close(self) -> None:
        """Dismiss all workers, and end the cluster if it was started for this run alone."""
        super().close()
        if self._own:
            import ray

            ray.shutdown()
            self._own = False

    def _opened(self, hand: Hand) -> Letter:
        import ray

        owed = hand.owed.pop(0)
        try:
            return Letter(hand, ray.get(owed))
        except ray.exceptions.RayError as error:  # the actor, its node or its memory is gone
            line = " ".join(str(error).split())[:200]
            return Letter(hand, None, f"{type(error).__name__}: {line}")

    def _check_head(self) -> None:
        import ray

        try:
            ray.nodes()  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever Ray raises when nobody answers
            raise NastkError(
                f"the head of the Ray cluster does not answer: {type(error).__name__}",
                "start it again, then 'nastk resume FOLDER'",
            ) from None

    def _connect(self) -> Any:
        """Return Ray, connected: to what the process is connected to already, or as set."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray asks for a decision here: workers without GPUs are not to see any.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if not ray.is_initialized():
            address = self.settings.address or os.environ.get("RAY_ADDRESS", "")
            _check_reachable(address)
            alone: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of Ray about itself
                    ray.init(address=address or "local", log_to_driver=False,
                             logging_level=logging.ERROR, **alone)  # fmt: skip
            except (ConnectionError, RuntimeError, ValueError) as error:
                what = " ".join(str(error).split())[:200]
                raise ConfigError(
                    f"executor 'ray': no cluster at '{address or 'this machine'}': {what}",
                    "see 'ray status', or start one with 'ray start --head'",
                ) from None
            self._own = not address
        return ray

    def _gpus(self) -> float:
        return self.settings.gpus if self.device() != "cpu" else 0.0


def _check_reachable(address: str) -> None:
    """Refuse ``host:port`` where nobody listens, for which Ray would end the process.

    Raises:
        ConfigError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=WAIT).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"executor 'ray': no cluster at '{address}': {error}",
            "see 'ray status', or start one with 'ray start --head'",
        ) from None
