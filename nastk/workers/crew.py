"""``Crew``: candidates handed to workers that may die or hang, whatever the workers are.

A lost worker is replaced and its candidate tried again from the start; since a candidate draws
from streams of its own, the second try gives what the first would have. What a lost try cost is
not known and not entered. A candidate that has lost several workers is recorded as failed.
"""

from __future__ import annotations

import itertools
import math
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define

from nastk.assembly import World
from nastk.attempts import Attempt, Job, Outcome
from nastk.errors import NastkError, PairError
from nastk.executor import Executor
from nastk.messages import from_bytes
from nastk.records import Cost, Status, Trial
from nastk.workers.config import CrewConfig
from nastk.workers.errands import can_go, check_answer, errand, greeting, outcome_of

START_SECONDS = 600.0
"""A worker that has not put the run together by then counts as lost."""


@define(eq=False)
class Ticket:
    """A task on its way.

    Attributes:
        number: order of submission.
        function: usually an :class:`Attempt`.
        task: its argument.
        losses: workers that were lost over it.
        spent: seconds until they were lost.
        wanted: somebody waits for the result.
    """

    number: int
    function: Any
    task: Any
    losses: int = 0
    spent: float = 0.0
    wanted: bool = True


@define(eq=False)
class Slot:
    """A place for one worker.

    Attributes:
        index: 0-based.
        worker: what the subclass hired, None: nobody yet.
        ready: the worker has put the run together.
        ticket: what it is doing.
        since: when it was hired, or was given that, on the monotonic clock.
        failures: workers in a row that were lost before they were ready; with too many of them
            the slot stays empty.
    """

    index: int
    worker: Any = None
    ready: bool = False
    ticket: Ticket | None = None
    since: float = 0.0
    failures: int = 0


@define(eq=False)
class Letter:
    """What was heard of a worker: its answer, or None with the reason why it was lost."""

    worker: Any
    answer: bytes | None
    reason: str = ""


class Crew(Executor):
    """Base of executors whose workers are other processes.

    Subclasses fill ``size``, ``hire``, ``give``, ``listen``, ``dismiss`` and say the ``device``.
    Tasks that a worker could not do alike (another trainer than the run's, a narrowed space) run
    in this process.
    """

    def __init__(self, settings: CrewConfig) -> None:
        self.settings = settings
        self.world: World | None = None
        self._slots: list[Slot] = []
        self._waiting: deque[Ticket] = deque()
        self._finished: dict[int, tuple[Ticket, Any]] = {}
        self._open: set[int] = set()
        self._numbers = itertools.count()
        self._greeting = b""

    # -- what subclasses fill --------------------------------------------------------------------

    @abstractmethod
    def size(self) -> int:
        """Return how many workers there are to be, at least one."""

    @abstractmethod
    def device(self) -> str:
        """Return the device of every worker, as the worker sees it."""

    @abstractmethod
    def hire(self, index: int) -> Any:
        """Return a new worker for a slot; it need not be up yet."""

    @abstractmethod
    def give(self, worker: Any, message: bytes) -> None:
        """Send a message; a worker that is gone is told of by :meth:`listen`."""

    @abstractmethod
    def listen(self, seconds: float | None) -> Letter | None:
        """Return the next answer or loss, None after so many seconds; waits for ever with None."""

    @abstractmethod
    def dismiss(self, worker: Any) -> None:
        """End a worker at once and wait until it is gone; nothing is heard of it later."""

    # -- the executor ----------------------------------------------------------------------------

    def start(self, world: World) -> None:
        """Take the run; workers are hired with the first candidates.

        Raises:
            PairError: a component is an object of this program, which no worker can import.
        """
        for entry in world.entries:
            component = entry.component
            if not component.factory:
                raise PairError(
                    f"executor '{self.name}': {component.kind} '{component.name}' is an object of "
                    "this program, which workers cannot import",
                    "register it in a plugin, or use the executor in-process",
                )
        self.world = world

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yield the results in the order of the tasks."""
        tickets = [self._take(function, task) for task in tasks]
        try:
            for ticket in tickets:
                while ticket.number not in self._finished:
                    self._advance()
                yield self._finished.pop(ticket.number)[1]
        finally:  # whoever stops early wants none of the rest
            for ticket in tickets:
                ticket.wanted = False
                self._finished.pop(ticket.number, None)
            self._waiting = deque(ticket for ticket in self._waiting if ticket.wanted)

    def submit(self, function: Callable[[Any], Any], task: Any) -> None:
        """Take a task and begin it where a worker is free."""
        self._open.add(self._take(function, task).number)
        self._dispatch()

    def collect(self) -> tuple[Any, Any]:
        """Return the submitted task that was done first of those not collected, and its result."""
        if not self._open:
            raise IndexError("nothing is submitted that was not collected")
        while not (done := [n for n in self._finished if n in self._open]):
            self._advance()
        self._open.remove(done[0])
        ticket, result = self._finished.pop(done[0])
        return ticket.task, result

    def close(self) -> None:
        """Dismiss all workers, whatever they are doing, and forget what was submitted."""
        for slot in self._slots:
            if slot.worker is not None:
                self.dismiss(slot.worker)
        self._slots = []
        self._waiting.clear()
        self._finished.clear()
        self._open.clear()

    # -- the work --------------------------------------------------------------------------------

    def _take(self, function: Any, task: Any) -> Ticket:
        ticket = Ticket(next(self._numbers), function, task)
        self._waiting.append(ticket)
        return ticket

    def _advance(self) -> None:
        """Wait until something has happened: an answer, a loss, or a task done here."""
        self._dispatch()
        if not (self._waiting or any(slot.ticket for slot in self._slots)):
            return  # what waited was done here
        letter = self.listen(self._patience())
        if letter is not None:
            slot = next((s for s in self._slots if s.worker is letter.worker), None)
            if slot is not None:
                self._hear(slot, letter)
        for slot in self._slots:
            if self._left(slot) <= 0.0:
                self._lose(slot, "timed-out", f"no answer in {self._limit(slot):g} seconds")

    def _dispatch(self) -> None:
        """Hand what waits to free slots; do here what no worker can do."""
        assert self.world is not None, "the executor was not started"
        self._staff()
        free = deque(slot for slot in self._slots if slot.ready and slot.ticket is None)
        while self._waiting:
            ticket = self._waiting[0]
            if not can_go(ticket.function, self.world):
                self._waiting.popleft()
                self._finish(ticket, ticket.function(ticket.task))
            elif free:
                slot = free.popleft()
                slot.ticket, slot.since = self._waiting.popleft(), time.monotonic()
                self.give(slot.worker, errand(ticket.function, ticket.task))
            else:
                return

    def _staff(self) -> None:
        """Hire workers for what waits; one that a cluster has no room for holds no candidate."""
        assert self.world is not None
        wanted = [t for t in self._waiting if can_go(t.function, self.world)]
        if wanted and not self._slots:  # only now: to know the size may take a cluster
            self._slots = [Slot(i) for i in range(self.size())]
        idle = sum(slot.worker is not None and slot.ticket is None for slot in self._slots)
        empty = [s for s in self._slots if s.worker is None and s.failures < self.settings.tries]
        for slot in empty[: max(0, len(wanted) - idle)]:
            self._greeting = self._greeting or greeting(self.world, self.device())
            slot.worker, slot.since = self.hire(slot.index), time.monotonic()
            self.give(slot.worker, self._greeting)

    def _patience(self) -> float | None:
        """Return the seconds until the first worker counts as hung, None: never."""
        first = min(self._left(slot) for slot in self._slots)
        return None if math.isinf(first) else max(0.0, first)

    def _left(self, slot: Slot) -> float:
        idle = slot.worker is None or (slot.ready and slot.ticket is None)
        return math.inf if idle else slot.since + self._limit(slot) - time.monotonic()

    def _limit(self, slot: Slot) -> float:
        return (self.settings.timeout or math.inf) if slot.ready else START_SECONDS

    def _hear(self, slot: Slot, letter: Letter) -> None:
        if letter.answer is None:
            self._lose(slot, "crashed", letter.reason)
        elif not slot.ready:
            check_answer(from_bytes(letter.answer))
            slot.ready, slot.failures = True, 0
        else:
            ticket, slot.ticket = slot.ticket, None
            assert ticket is not None
            assert self.world is not None
            found = outcome_of(letter.answer, ticket.function, ticket.task, self.world)
            self._finish(ticket, found)

    def _finish(self, ticket: Ticket, result: Any) -> None:
        if ticket.wanted:
            self._finished[ticket.number] = (ticket, result)

    # -- losses ----------------------------------------------------------------------------------

    def _lose(self, slot: Slot, status: Status, reason: str) -> None:
        """Dismiss the worker of a slot; what it had is tried again, or has failed for good."""
        self.dismiss(slot.worker)
        ticket, was_ready = slot.ticket, slot.ready
        slot.worker, slot.ticket, slot.ready = None, None, False
        if not was_ready:
            slot.failures += 1
            last = slot.failures >= self.settings.tries
            self._tell(f"worker {slot.index} did not start: {reason}")
            if last and not any(s.worker or s.failures < slot.failures for s in self._slots):
                raise NastkError(f"no worker starts, tried {slot.failures} times: {reason}")
            return
        if ticket is None:
            return
        if not ticket.wanted:
            return
        ticket.losses += 1
        ticket.spent += time.monotonic() - slot.since
        what = f"candidate {ticket.task.number}: worker {slot.index} was lost: {reason}"
        if ticket.losses < self.settings.tries:
            self._tell(f"{what}; it is tried again")
            self._waiting.appendleft(ticket)
            return
        self._tell(f"{what}; it has lost {ticket.losses} workers and counts as failed")
        outcome = given_up(ticket.function, ticket.task, status, reason, ticket)
        self._finish(ticket, outcome)

    def _tell(self, message: str) -> None:
        if self.listener is not None:
            self.listener(message)


def given_up(attempt: Attempt, job: Job, status: Status, reason: str, ticket: Ticket) -> Outcome:
    """Return the outcome of a candidate that lost too many workers."""
    told = f"lost {ticket.losses} workers, the last one: {reason}"
    cost = Cost(seconds=ticket.spent)
    return Outcome(
        Trial(job.number, job.architecture, status, cost, attempt.budget, reason=told,
              rung=attempt.rung)
    )  # fmt: skip
