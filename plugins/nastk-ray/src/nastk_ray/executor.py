"""The executor ``ray``: every worker is an actor with resources of its own, every program too.

What is lost with a node or an actor is tried again elsewhere by nastk itself, not by Ray, so that
it is counted once. When the head of the cluster is gone the run ends and can be resumed.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from nastk.errors import ConfigError, NastkError, RunFolderError
from nastk.executor import LOOK, Ended, Program, check_lent
from nastk.workers.crew import Crew, Letter

if TYPE_CHECKING:
    from nastk_ray.config import RayConfig

WAIT = 5.0
"""Seconds between looks whether the head still answers."""
PATIENCE = 15.0
"""Seconds without an answer after which the head is lost; Ray ends all processes after 60."""
PARTING = 25.0
"""Seconds that programs then have to commit and end."""


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
        self._headless = False
        self._looked = time.monotonic()

    def size(self) -> int:
        """Connect, and return how many workers the cluster has room for, or as set.

        Raises:
            ConfigError: the cluster cannot be reached, or not even one worker fits.
        """
        room = self._room(self._gpus(self.device()))
        return self.settings.workers or room

    def places(self, device: str) -> int:
        """Connect, and return how many programs the cluster has room for, or as set.

        Raises:
            ConfigError: the cluster cannot be reached, not even one program fits, or the device
                has a number, of which Ray decides.
        """
        check_lent(self.name, device)
        room = self._room(self._gpus(device))
        return self.settings.workers or room

    def run_apart(self, program: Program, stopped: Callable[[], bool]) -> Ended:
        """Run a program in an actor of its own, again where it was lost, as often as set.

        Raises:
            NastkError: the head of the cluster does not answer, or a node does not have this
                process's working directory.
        """
        for losses in itertools.count(1):
            ended, reason = self._on_stage(program, stopped)
            if ended is not None:
                return ended
            if losses >= self.settings.tries or stopped():
                return Ended(1, f"lost {losses} workers, the last one: {reason}")
            if self.listener is not None:
                self.listener(f"{program.name}: its worker was lost: {reason}; it is tried again")
        raise AssertionError("counting ends")

    def device(self) -> str:
        """Return ``cuda:0``, the device that Ray shows a worker, or ``cpu``."""
        assert self.world is not None
        return "cuda:0" if self.world.search.device.startswith("cuda") else "cpu"

    def hire(self, index: int) -> Hand:
        """Ask for an actor; Ray starts it where there is room."""
        from nastk_ray.actor import Actor

        assert self.world is not None
        threads = str(self.world.config.engine.threads)
        hand = Hand(self._actor(Actor, self._gpus(self.device()), threads))
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
            self._look()
            if done:
                return self._opened(first[done[0]])
            if left is not None:
                left -= patience
                if left <= 0:
                    return None

    def dismiss(self, worker: Hand) -> None:
        """Kill the actor."""
        self._hands.remove(worker)
        self._kill(worker.actor)

    def close(self) -> None:
        """Dismiss all workers, and end the cluster if it was started for this run alone."""
        super().close()
        self._headless = False
        if self._own:
            import ray

            ray.shutdown()
            self._own = False

    def _kill(self, actor: Any) -> None:
        if self._headless:
            return  # Ray would ask the head, and wait
        with contextlib.suppress(Exception):  # Ray may be gone, or the actor already
            self._connect().kill(actor)

    def _opened(self, hand: Hand) -> Letter:
        import ray

        owed = hand.owed.pop(0)
        try:
            return Letter(hand, ray.get(owed))
        except ray.exceptions.RayError as error:  # the actor, its node or its memory is gone
            return Letter(hand, None, _line(error))

    def _actor(self, kind: type[Any], gpus: float, threads: str, **more: Any) -> Any:
        """Ask for an actor; Ray neither starts it again nor repeats what is lost with it."""
        claims = {"num_cpus": self.settings.cpus, "num_gpus": gpus, **more}
        env = {"env_vars": {"OMP_NUM_THREADS": threads}}
        make = self._connect().remote(max_restarts=0, max_task_retries=0, **claims)(kind)
        return make.options(runtime_env=env).remote()

    def _on_stage(self, program: Program, stopped: Callable[[], bool]) -> tuple[Ended | None, str]:
        """Return how a program ended in a new actor, or None and how the actor was lost."""
        from nastk_ray.actor import Stage

        ray = self._connect()
        stage = self._actor(Stage, self._gpus(program.device), "1", max_concurrency=2)
        env = {key: value for key, value in os.environ.items() if key.startswith("NASTK_")}
        owed = stage.run.remote(str(Path.cwd()), env, program.module, program.words)
        try:
            if not self._await(stage, owed, stopped):
                return Ended(1, "it had no place yet"), ""
            code, said = ray.get(owed)
        except ray.exceptions.RayError as error:  # the actor, its node or its memory is gone
            return None, _line(error)
        finally:
            self._kill(stage)
        if code is None:
            raise RunFolderError(f"executor 'ray': {said}", "work in a folder that all nodes share")
        return Ended(code, said), ""

    def _await(self, stage: Any, owed: Any, stopped: Callable[[], bool]) -> bool:
        """Wait for an answer; return False where there will be none: it was to end before it began.

        Raises:
            NastkError: the head of the cluster does not answer.
        """
        import ray

        asked = False
        while not ray.wait([owed], timeout=LOOK)[0]:
            if stopped() and not asked:
                asked = True
                if not ray.wait([stage.end.remote()], timeout=WAIT)[0]:
                    return False
            try:
                self._look()
            except NastkError:  # the program is asked itself, without the head
                ray.wait([stage.end.remote()], timeout=WAIT)
                ray.wait([owed], timeout=PARTING)
                raise
        return True

    def _look(self) -> None:
        """Check the head now and then: workers answer without it, for a while.

        Raises:
            NastkError: it does not answer.
        """
        if time.monotonic() > self._looked + WAIT:
            self._check_head()
            self._looked = time.monotonic()

    def _check_head(self) -> None:
        """Wait for the head of the cluster for a while.

        Ray would wait as well, but for a minute, and then end this process.

        Raises:
            NastkError: it does not answer.
        """
        import ray

        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
            except OSError as error:
                if time.monotonic() > until:
                    self._headless = True
                    raise NastkError(
                        f"the head of the Ray cluster does not answer: {error.strerror or error}",
                        "start it again, then 'nastk resume FOLDER', or the same 'nastk compare'",
                    ) from None
                time.sleep(LOOK)
            else:
                return

    def _connect(self) -> Any:
        """Return Ray, connected: to what the process is connected to already, or as set."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray asks for a decision here: workers that claim no GPU are told which device is theirs.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if not ray.is_initialized():
            address = self.settings.address or os.environ.get("RAY_ADDRESS", "")
            _check_reachable(address)
            alone: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                with warnings.catch_warnings(), _own_signals():
                    warnings.simplefilter("ignore")  # of Ray about itself
                    ray.init(address=address or "local", log_to_driver=False,
                             logging_level=logging.ERROR, **alone)  # fmt: skip
            except (ConnectionError, RuntimeError, ValueError) as error:
                what = " ".join(str(error).split())[:200]
                raise ConfigError(
                    f"executor 'ray': no cluster at '{address or 'this machine'}': {what}",
                    "see 'ray status', or start one with 'ray start --head'",
                ) from None
            # What Ray tells of lost workers goes to stdout all the same, which is for results.
            ray._private.worker._worker_logs_enabled = False
            self._own = not address
        return ray

    def _room(self, gpus: float) -> int:
        """Connect, and return how many workers the cluster has room for.

        Raises:
            ConfigError: the cluster cannot be reached, or not even one worker fits.
        """
        have = self._connect().cluster_resources()
        room = [
            int(have.get(name, 0.0) / share)
            for name, share in (("CPU", self.settings.cpus), ("GPU", gpus))
            if share > 0
        ]
        if room and min(room) < 1:
            raise ConfigError(
                f"executor 'ray': got a cluster with {have.get('CPU', 0):g} CPUs and "
                f"{have.get('GPU', 0):g} GPUs, expected room for one worker of "
                f"{self.settings.cpus:g} CPUs and {gpus:g} GPUs",
                "lower executor.cpus or executor.gpus, or add nodes",
            )
        return min(room, default=1)

    def _gpus(self, device: str) -> float:
        """Return the share of a GPU that a worker claims; ``auto`` is for what the cluster has."""
        if device == "auto":
            device = "cuda" if self._connect().cluster_resources().get("GPU") else "cpu"
        return 0.0 if device == "cpu" else self.settings.gpus


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM, for which Ray sets one that ends the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


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
