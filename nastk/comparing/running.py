"""The cells of a comparison, run through an executor; whatever is finished is never run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from nastk import engine
from nastk.comparing.cells import Cell, cell_name
from nastk.comparing.collecting import cell_of_run, lost_bill, settings_of_cell
from nastk.comparing.memory import opened_twice, run_in_memory
from nastk.comparing.planning import Comparison, Row, cell_config, training_config
from nastk.comparing.store import Store
from nastk.config import Config
from nastk.errors import DataError, NastkError, RunFolderError
from nastk.executor import Executor, InProcess, Program
from nastk.randomness import Randomness
from nastk.registry import Registry

INTERRUPTED = 130
NOWHERE = 3
"""Exit code of a process of cells that finds no comparison."""
CHUNKS = 3
"""Parts a worker, where one process works through many cells without folders."""


@frozen
class Task:
    """One cell to run.

    Attributes:
        table: name of its comparison.
        row: label of its row.
        seed: of the search.
        training: of the winner, 0 for the search itself.
        codes: of an architecture that is trained alone; empty for a search.
        proxy: number among those trained to judge search-time scores; -1: none of them.
    """

    table: str
    row: str
    seed: int
    training: int = 0
    codes: str = ""
    proxy: int = -1

    @property
    def name(self) -> str:
        """Of the cell's file."""
        name = cell_name(self.row, self.seed, self.training)
        return name if self.proxy < 0 else f"{name}-proxy{self.proxy}"

    @property
    def word(self) -> str:
        """The task as one word of a command line; :func:`task_of` reads it."""
        return "@".join(
            (self.table, self.row, str(self.seed), str(self.training), str(self.proxy), self.codes)
        )


def task_of(word: str) -> Task:
    """Return the task that :attr:`Task.word` describes."""
    table, row, seed, training, proxy, codes = word.split("@", 5)
    return Task(table, row, int(seed), int(training), codes, int(proxy))


def searches(store: Store) -> list[Task]:
    """Return the searches of all tables, every row of a seed before the next seed."""
    return [
        Task(table.name, row.label, seed)
        for table in store.plan.tables
        for seed in table.seeds
        for row in table.rows
        if not row.absent and (not row.taken or str(seed) in row.taken)
    ]


def followers(store: Store) -> list[Task]:
    """Return what follows from finished searches: more trainings of winners, and of candidates."""
    found = []
    for task in searches(store):
        cell = store.read(table_of(store, task.table), task.name)
        if cell is not None and cell.status == "ok":
            again = range(1, store.plan.trainings)
            found += [evolve(task, training=n, codes=cell.codes) for n in again]
    return found + proxies(store)


def proxies(store: Store) -> list[Task]:
    """Return the trainings of candidates of each row's first search that has enough of them."""
    wanted, found = store.plan.proxy, []
    if not wanted:
        return []
    for table in store.plan.tables:
        for row in table.rows:
            tasks = [t for t in searches(store) if (t.table, t.row) == (table.name, row.label)]
            cells = [(t, store.read(table, t.name)) for t in tasks]
            enough = [(t, c) for t, c in cells if c is not None and len(rated(c)) >= wanted]
            for task, cell in enough[:1]:
                rng = Randomness(task.seed).numpy("proxy")
                codes = rated(cell)
                drawn = sorted(rng.choice(len(codes), wanted, replace=False).tolist())
                found += [evolve(task, codes=codes[i], proxy=n) for n, i in enumerate(drawn)]
    return found


def rated(cell: Cell) -> list[str]:
    """Return the codes of candidates with scores of one fidelity, that of most of them."""
    counts: dict[str, list[str]] = {}
    for candidate in cell.rated:
        counts.setdefault(candidate.fidelity, []).append(candidate.codes)
    return max(counts.values(), key=len, default=[])


def table_of(store: Store, name: str) -> Comparison:
    """Return the table of that name."""
    return next(table for table in store.plan.tables if table.name == name)


# -- one cell ------------------------------------------------------------------------------------


def run_task(
    store: Store, task: Task, registry: Registry, stop: engine.StopRequest | None = None
) -> Cell | None:
    """Return what a cell came to: read, taken, continued or run; None where it was interrupted."""
    table = table_of(store, task.table)
    known = store.read(table, task.name)
    if known is not None:
        return known
    row = next(row for row in table.rows if row.label == task.row)
    cell = _run(store, table, row, task, registry, stop)
    if cell is not None:
        store.write(table, task.name, cell)
    return cell


def _run(
    store: Store,
    table: Comparison,
    row: Row,
    task: Task,
    registry: Registry,
    stop: engine.StopRequest | None,
) -> Cell | None:
    if not task.codes and str(task.seed) in row.taken:
        return _taken(Path(row.taken[str(task.seed)]), row, task, registry, table.unit)
    config = config_of(row, task, registry)
    if store.plan.in_memory:
        return run_in_memory(config, row.label, registry, table.unit)
    folder = store.run_folder(table, task.name)
    try:
        if (folder / "run.json").is_file():
            result = engine.resume(folder, registry, stop=stop)
        else:
            result = engine.run(config, registry, folder, stop=stop)
        if result.interrupted:
            return None
        return cell_of_run(folder, row.label, registry, table.unit)
    except RunFolderError:
        raise
    except NastkError as error:
        return _failed(config, row, folder, error, registry)


def config_of(row: Row, task: Task, registry: Registry) -> Config:
    """Return the configuration of a task's run."""
    if not task.codes:
        return cell_config(row, task.seed, registry)
    if task.proxy < 0:
        return training_config(row, task.seed, task.codes, registry, {"seed": task.training})
    return training_config(row, task.seed, task.codes, registry, {"evaluate": False})


def _taken(folder: Path, row: Row, task: Task, registry: Registry, unit: str) -> Cell:
    cell = cell_of_run(folder, row.label, registry, unit)
    if cell is not None:
        return cell
    held = cell_config(row, task.seed, registry)
    facts = settings_of_cell(held, registry, "")
    reason = "the run is not finished"
    return Cell(row=row.label, status="failed", reason=reason, bill=lost_bill(folder, reason),
                folder=str(folder), **facts)  # fmt: skip


def _failed(config: Config, row: Row, folder: Path, error: NastkError, registry: Registry) -> Cell:
    status: Any = opened_twice(error) if isinstance(error, DataError) else "failed"
    facts = settings_of_cell(config, registry, "")
    bill = lost_bill(folder, error.message)
    return Cell(row=row.label, status=status, reason=error.message, bill=bill,
                folder=str(folder), **facts)  # fmt: skip


# -- many cells ----------------------------------------------------------------------------------


class AtOnce(Executor):
    """Runs several tasks at a time, each waiting for a process of its own."""

    name = "at-once"

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yield the results in the order of the tasks."""
        with ThreadPoolExecutor(self.workers) as pool:
            yield from pool.map(function, tasks)


@frozen
class Here:
    """Runs tasks in this process."""

    store: Store
    registry: Registry = field(eq=False)
    stop: engine.StopRequest = field(factory=engine.StopRequest, eq=False)

    def __call__(self, tasks: Sequence[Task]) -> str:
        """Run them; return why they came to no end, else empty."""
        for task in tasks:
            if self.stop.is_set() or run_task(self.store, task, self.registry, self.stop) is None:
                return "interrupted"
        return ""


@frozen
class Apart:
    """Runs tasks in a process of their own, which a crash of a cell takes down alone.

    Attributes:
        store: of the comparison, seen alike by this process and the others.
        executor: where those processes run.
        stop: asks for an early end; set here when no further cell can run.
    """

    store: Store
    executor: Executor = field(factory=InProcess, eq=False)
    stop: engine.StopRequest = field(factory=engine.StopRequest, eq=False)

    def __call__(self, tasks: Sequence[Task]) -> str:
        """Run them; return why they came to no end, else empty.

        Raises:
            NastkError: no further cell can run; what others are at ends early and is kept.
        """
        if self.stop.is_set():
            return "interrupted"
        try:
            return self._run(tasks)
        except NastkError:
            self.stop.set()
            raise

    def _run(self, tasks: Sequence[Task]) -> str:
        words = (str(self.store.path), *(task.word for task in tasks))
        first = tasks[0]
        program = Program("nastk.comparing", words, first.name, device_of(self.store, first))
        ended = self.executor.run_apart(program, self.stop.is_set)
        if ended.code == 0:
            self._check_seen(tasks)
            return ""
        if ended.code == INTERRUPTED or self.stop.is_set():
            return "interrupted"
        if ended.code == NOWHERE:
            raise RunFolderError(ended.said)
        return f"{first.name}: {ended.said}"

    def _check_seen(self, tasks: Sequence[Task]) -> None:
        files = [self.store.cell_file(table_of(self.store, t.table), t.name) for t in tasks]
        # Listed, not looked up: a shared file system may remember that there was no such file.
        seen = {path for folder in {f.parent for f in files} for path in folder.glob("*.json")}
        for file in files:
            if file not in seen:
                raise RunFolderError(
                    f"{file}: was written elsewhere and is not seen here",
                    "put the comparison into a folder that all nodes share",
                )


def device_of(store: Store, task: Task) -> str:
    """Return where a task computes, in the words of ``run.device``."""
    row = next(r for r in table_of(store, task.table).rows if r.label == task.row)
    return str(row.config["values"]["run"]["device"])


def run_all(
    tasks: Sequence[Task],
    work: Callable[[Sequence[Task]], str],
    executor: Executor,
    tell: Callable[[str], None],
    chunk: int = 1,
) -> bool:
    """Run tasks, some at a time; return whether all came to an end.

    Args:
        tasks: in order; finished ones cost nothing.
        work: :class:`Here` or :class:`Apart`.
        executor: where they run.
        tell: told a line now and then.
        chunk: tasks that are handed to ``work`` together.
    """
    parts = [tasks[i : i + chunk] for i in range(0, len(tasks), chunk)]
    whole, done = True, 0
    for part, trouble in zip(parts, executor.map(work, parts), strict=True):
        done += len(part)
        whole = whole and not trouble
        if trouble and trouble != "interrupted":
            tell(f"warning: {trouble}")
        if not trouble:
            tell(f"{done}/{len(tasks)} cells: {part[-1].name}")
    return whole


def complete(
    store: Store,
    registry: Registry,
    workers: int,
    tell: Callable[[str], None],
    stop: engine.StopRequest | None = None,
    executor: Executor | None = None,
) -> bool:
    """Run what is left of a comparison, searches first; return whether all came to an end.

    Args:
        store: of the comparison.
        registry: for a single worker, which is this process.
        workers: cells at a time; 0: as many as there is room for.
        tell: told a line now and then.
        stop: asks for an early end; everything is kept.
        executor: where cells run, each in a process of its own; None: processes of this machine,
            and this process for a single worker.

    Raises:
        NastkError: no further cell can run; the same call continues.
    """
    asked = stop or engine.StopRequest()
    place = executor or InProcess()
    place.listener = tell
    for tasks in (searches, followers):
        left = unfinished(store, tasks(store))
        if not left:
            continue
        room = min(place.places(device) for device in {device_of(store, task) for task in left})
        count = workers or room
        alone = count == 1 and executor is None
        work = Here(store, registry, asked) if alone else Apart(store, place, asked)
        loop: Executor = InProcess() if alone else AtOnce(count)
        chunk = math.ceil(len(left) / (CHUNKS * count)) if store.plan.in_memory else 1
        if not run_all(left, work, loop, tell, max(1, chunk)):
            return False
    return True


def unfinished(store: Store, tasks: Iterable[Task]) -> list[Task]:
    """Return the tasks that have come to no end."""
    return [
        task
        for task in tasks
        if not store.cell_file(table_of(store, task.table), task.name).is_file()
    ]
