"""Trains every member of the space and writes down what it finds; resumable, in processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from filelock import FileLock, Timeout

from nastk.assembly import versions
from nastk.attempts import FAILURES, begin, reason_of, status_of
from nastk.errors import RunFolderError
from nastk.evaluator import Candidate
from nastk.randomness import Randomness, derive_seed
from nastk.records import Architecture, Budget, Metric, to_json
from nastk.trainer import Plan, Training
from nastk_bench.journal import (
    Header,
    Journal,
    Line,
    Point,
    missing,
    open_folder,
    protocol_of,
    read_lines,
)
from nastk_bench.protocol import MEASURED, Protocol, Workshop, nano_space, workshop

Told = Callable[[int, int], None]


@frozen
class _Task:
    """What one process is to do.

    Attributes:
        folder: of the build.
        worker: number of the process.
        trainings: (member's codes, seed).
    """

    folder: Path
    worker: int
    trainings: tuple[tuple[str, int], ...]


def build(
    folder: Path,
    protocol: Protocol,
    *,
    seeds: int,
    workers: int = 1,
    limit: int = 0,
    told: Told | None = None,
) -> None:
    """Do the trainings that ``folder`` lacks; may be killed and called again at any time.

    Args:
        folder: where journals are kept.
        protocol: must be that of the folder.
        seeds: trainings per member, with seeds 0, 1, …
        workers: processes, of one thread each.
        limit: trainings to do at most; 0: all.
        told: called now and then with the numbers of trainings done and wanted.

    Raises:
        RunFolderError: another process builds here, or the folder is another protocol's.
    """
    open_folder(folder, protocol)
    try:
        with FileLock(folder / "lock", timeout=0):
            _build(folder, protocol, seeds, workers, limit, told or (lambda done, wanted: None))
    except Timeout:
        raise RunFolderError(f"{folder}: another process builds here") from None


def _build(
    folder: Path, protocol: Protocol, seeds: int, workers: int, limit: int, told: Told
) -> None:
    space = nano_space(protocol)
    members = space.members()
    codes = {a.fingerprint: space.encode(a) for a in members}
    todo = missing(read_lines(folder)[1], list(codes), seeds)
    wanted = len(members) * seeds
    told(wanted - len(todo), wanted)
    todo = todo[: limit or None]
    tasks = [
        _Task(folder, i, tuple((codes[m], seed) for m, seed in todo[i::workers]))
        for i in range(min(workers, len(todo)))
    ]
    if len(tasks) == 1:
        work(tasks[0])
    elif tasks:
        _in_processes(tasks, lambda: told(len(read_lines(folder)[1]), wanted))
    told(len(read_lines(folder)[1]), wanted)


def _in_processes(tasks: Sequence[_Task], tell: Callable[[], None]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(task,), daemon=True) for task in tasks]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(timeout=5.0)
        tell()
    failed = [p.exitcode for p in processes if p.exitcode]
    if failed:
        raise RunFolderError(
            f"{len(failed)} workers ended with exit codes {failed}", "build again to go on"
        )


def work(task: _Task) -> None:
    """Do the trainings of one process, a line of its journal each."""
    import torch

    torch.set_num_threads(1)
    shop = workshop(protocol_of(task.folder))
    path = task.folder / f"journal-{task.worker:02}.jsonl"
    journal = Journal(path, _header(shop))
    try:
        for codes, seed in task.trainings:
            journal.append(train(shop, shop.space.parse(codes), seed))
    finally:
        journal.close()


def train(shop: Workshop, member: Architecture, seed: int) -> Line:
    """Return what comes of training and measuring one member; a failure is an outcome.

    Depends on protocol, member and seed only.
    """
    own = Randomness(derive_seed(seed, f"{shop.protocol.name}/{member.fingerprint}"))
    training = begin(shop.trainer, shop.space, member, Plan(horizon=shop.protocol.steps), own)
    size = _complexity(training)
    points: list[Point] = []
    reason, seconds = "", 0.0
    for steps in shop.protocol.fidelities:
        started = time.process_time()
        found: dict[str, Any] = {}
        try:
            if not reason:
                training.advance(Budget(steps - training.cost.steps))
                found = {"status": "ok"}
        except FAILURES as error:
            reason, found = reason_of(error), {"status": status_of(error)}
        seconds += time.process_time() - started
        if not reason:
            try:
                found |= _measured(shop, training, member)
            except FAILURES as error:
                reason, found = reason_of(error), {"status": status_of(error)}
        points.append(_point(steps, found or {"status": points[-1].status}, training, seconds))
    return Line(member.fingerprint, shop.space.encode(member), seed, tuple(points), *size, reason)


def _point(steps: int, found: dict[str, Any], training: Training, seconds: float) -> Point:
    cost = training.cost
    return Point(
        steps=steps,
        trained=cost.steps,
        images=cost.images,
        macs=cost.macs,
        seconds=round(seconds, 4),
        **found,
    )


def _measured(shop: Workshop, training: Training, member: Architecture) -> dict[str, Any]:
    started = time.process_time()
    validation = _metrics(shop, training, member, "validation")
    measuring = round(time.process_time() - started, 4)
    found = {"validation": _values(validation), "measuring": measuring}
    if training.cost.steps == shop.protocol.steps:
        found["test"] = _values(_metrics(shop, training, member, "test"))
    return found


def _metrics(
    shop: Workshop, training: Training, member: Architecture, split: str
) -> dict[str, Metric]:
    data = shop.test if split == "test" else shop.dataset.split("validation", "cpu")
    generator = training.eval_generator()
    kind = "ema" if training.averaged else "live"
    candidate = Candidate(member, shop.space, generator, None, weights=kind)
    return shop.evaluator.measure(candidate, data, Randomness(shop.protocol.dataset_seed))


def _values(metrics: Mapping[str, Metric]) -> tuple[float | None, ...]:
    values = [metrics[name].value for name in MEASURED]
    return tuple(None if value is None else round(value, 6) for value in values)


def _complexity(training: Training) -> tuple[int, int]:
    from nastk.nn.complexity import count

    network = training.pair.generator
    found = count(network, tuple(training.pair.space.input.shape))
    return found.parameters, found.macs


def _header(shop: Workshop) -> Header:
    """Return the header, with the cards of an untrained member's metrics."""
    member = shop.space.members()[-1]
    own = Randomness(0)
    training = begin(shop.trainer, shop.space, member, Plan(), own)
    cards = {
        split: {
            name: to_json(metric.card)
            for name, metric in _metrics(shop, training, member, split).items()
        }
        for split in ("validation", "test")
    }
    return Header(shop.protocol.hash, versions(), cards)
