"""The executor ``processes``: workers on this machine, each a process with a device of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import IO, Any

from attrs import define, field

from nastk.device import choose_device
from nastk.executor import Ended, Program, check_lent, in_a_process
from nastk.workers.config import ProcessesConfig
from nastk.workers.crew import Crew, Letter

_LENGTH = struct.Struct(">Q")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from nastk.workers.serving import serve; serve()"
)
TAIL = 2000
"""Bytes of a lost worker's last words that are looked at."""


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Return the next message of a stream, None at its end, also in the middle of a message."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def write_frame(stream: IO[bytes], message: bytes) -> None:
    """Write one message and push it out."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


@define(eq=False)
class Hand:
    """A worker process.

    Attributes:
        process: with pipes to and fro.
        words: what it said on stderr.
        reader: puts what it answers into the pool's mail.
    """

    process: subprocess.Popen[bytes]
    words: IO[bytes]
    reader: threading.Thread | None = field(default=None, repr=False)

    def last_words(self) -> str:
        """Return how it ended and the last line that it said."""
        code = self.process.wait()
        self.words.seek(0, os.SEEK_END)
        self.words.seek(max(0, self.words.tell() - TAIL))
        lines = self.words.read().decode(errors="replace").strip().splitlines()
        how = f"its process ended with {code}"
        return f"{how}: {lines[-1].strip()[:200]}" if lines else how

    def end(self) -> None:
        """Kill the process, wait for it, and let go of everything."""
        self.process.kill()
        self.process.wait()
        if self.reader is not None:
            self.reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.words):
            if stream is not None:
                with contextlib.suppress(OSError):  # unwritten bytes for a reader that is gone
                    stream.close()


class Processes(Crew):
    """Runs candidates in processes of this machine, one device slot a worker.

    Results are those of the executor ``in-process``, bit for bit on the CPU. Workers are spawned,
    not forked. They end with this process, however it ends.
    """

    name = "processes"

    def __init__(self, settings: ProcessesConfig) -> None:
        super().__init__(settings)
        self.devices = settings.devices
        self._mail: queue.SimpleQueue[tuple[Hand, bytes | None]] = queue.SimpleQueue()
        self._hands: list[Hand] = []
        self._picking = threading.Lock()
        self._busy: list[str] = []
        self._finalizer = weakref.finalize(self, _end_all, self._hands)

    def size(self) -> int:
        """Return the number of workers: as set, else of devices, else of cores."""
        if self.settings.workers:
            return self.settings.workers
        return len(self._cuda(self.device())) or _cores()

    def places(self, device: str) -> int:
        """Return the number of programs: as set, else of devices, else of cores.

        Raises:
            ConfigError: the device has a number; ``devices`` says which are used.
        """
        check_lent(self.name, device)
        return self.settings.workers or len(self._cuda(device)) or _cores()

    def run_apart(self, program: Program, stopped: Callable[[], bool]) -> Ended:
        """Run a program in a process that sees the device with the fewest of them, or none."""
        devices = self._cuda(program.device)
        if not devices:
            return in_a_process(program, stopped)
        with self._picking:
            mine = min(devices, key=self._busy.count)
            self._busy.append(mine)
        try:
            return in_a_process(program, stopped, CUDA_VISIBLE_DEVICES=mine)
        finally:
            self._busy.remove(mine)

    def device(self) -> str:
        """Return ``cuda:0``, the only device that a worker sees, or ``cpu``."""
        assert self.world is not None
        return "cuda:0" if self.world.search.device.startswith("cuda") else "cpu"

    def hire(self, index: int) -> Hand:
        """Start a process; it waits for the greeting."""
        words = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        hand = Hand(
            subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=self._environment(index),
            ),
            words,
        )
        self._hands.append(hand)
        hand.reader = threading.Thread(target=_read, args=(hand, self._mail), daemon=True)
        hand.reader.start()
        return hand

    def give(self, worker: Hand, message: bytes) -> None:
        """Write the message into the worker's pipe."""
        assert worker.process.stdin is not None
        with contextlib.suppress(OSError):  # the reader tells of the end of a worker
            write_frame(worker.process.stdin, message)

    def listen(self, seconds: float | None) -> Letter | None:
        """Wait for the mail."""
        try:
            hand, answer = self._mail.get(timeout=seconds)
        except queue.Empty:
            return None
        known = any(hand is other for other in self._hands)
        reason = hand.last_words() if answer is None and known else ""
        return Letter(hand, answer, reason)

    def dismiss(self, worker: Hand) -> None:
        """Kill the process and wait for it."""
        worker.end()
        self._hands.remove(worker)

    def _environment(self, index: int) -> dict[str, str]:
        """Return the environment of a slot's worker: its threads, and its device alone."""
        assert self.world is not None
        threads = str(self.world.config.engine.threads)
        env = {**os.environ, "OMP_NUM_THREADS": threads}
        devices = self._cuda(self.device())
        if devices:
            env["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        return env

    def _cuda(self, device: str) -> Sequence[str]:
        """Return the devices that workers take in turn, in CUDA's words; empty on the CPU."""
        if (choose_device(device)[0] if device == "auto" else device) == "cpu":
            return ()
        if self.devices:
            return self.devices
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if visible:
            return [word.strip() for word in visible.split(",")]
        import torch

        return [str(index) for index in range(torch.cuda.device_count())]


def processes(config: ProcessesConfig) -> Processes:
    """Return the executor; no process is started yet."""
    return Processes(config)


def _read(hand: Hand, mail: queue.SimpleQueue[tuple[Hand, bytes | None]]) -> None:
    assert hand.process.stdout is not None
    while True:
        message = read_frame(hand.process.stdout)
        mail.put((hand, message))
        if message is None:
            return


def _end_all(hands: list[Hand]) -> None:
    while hands:
        hands.pop().end()


def _cores() -> int:
    free: Any = getattr(os, "sched_getaffinity", None)
    return len(free(0)) if free is not None else os.cpu_count() or 1
