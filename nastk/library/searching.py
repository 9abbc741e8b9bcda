"""Searches, trainings and their continuations, started from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk import engine
from nastk.cli.execute import free_folder, on_device, write_page
from nastk.engine import StopRequest
from nastk.errors import ConfigError
from nastk.events import Sink
from nastk.library.given import Asked
from nastk.library.runs import Run
from nastk.library.watching import make_screen, patience, threads_kept
from nastk.plugins import Plugins
from nastk.result import Result
from nastk.resuming import finished_result
from nastk.retraining import training_config
from nastk.rundir import RunFolder

if TYPE_CHECKING:
    from nastk.library.given import DataLike, SpaceLike, StrategyLike


def search(
    space: SpaceLike = "",
    strategy: StrategyLike = "",
    data: DataLike = "",
    budget: str = "",
    *,
    objective: Any = "",
    trainer: Any = "",
    evaluator: Any = "",
    executor: Any = "",
    seed: int = 0,
    device: str = "",
    out: str | Path = "",
    preset: str = "",
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    stop: StopRequest | None = None,
    **words: Any,
) -> Run:
    """Search, retrain the best from scratch, measure it, and return the run.

    The same as ``nastk run``, with a folder that ``nastk show`` and the other commands read. A
    component is a name, or code of your own: an instance (copied), or a class or function that
    makes one. Works in any thread, and where an event loop runs. The first Ctrl-C in the main
    thread commits and returns a run that is ``interrupted``.

    Args:
        space: what to search; empty: as configured.
        strategy: how.
        data: a data set's name, a folder of images, uint8 images ``(N, H, W)``, ``(N, C, H, W)``
            or ``(N, H, W, C)``, a tuple of images and labels, or a data set of your own.
        budget: of the search, e.g. ``"3min"``, ``"500 steps"``, ``"20 GMACs"``; empty: the
            strategy's plan.
        objective: the adversarial losses.
        trainer: what trains a pair.
        evaluator: what measures a candidate.
        executor: where candidates run.
        seed: decides every random draw.
        device: empty: CUDA where there is one.
        out: folder of the run; empty: the first free one named after it, in ``runs/``.
        preset: a named set of values of the space and the strategy.
        settings: dotted key → value, for any setting that ``nastk config check`` shows.
        progress: False shows nothing.
        stop: asks for an early end, from any thread.
        **words: the same settings as ``section__key=value``.

    Raises:
        UserError: something that is asked for does not exist, does not fit, or cannot work with
            the rest; nothing is written.
        NastkError: too many candidates failed.
    """
    asked = Asked()
    asked.take(space=space, strategy=strategy, data=data, objective=objective, trainer=trainer,
               evaluator=evaluator, executor=executor)  # fmt: skip
    run = {"seed": seed, "budget": budget, "device": device, "out": str(out), "preset": preset}
    asked.set({f"run.{k}": v for k, v in run.items() if v}, {})
    asked.set(settings, words)
    config = asked.config()
    folder = free_folder(config, config.run.strategy)
    ready = on_device(config)
    return _watched(
        asked.registry,
        folder,
        lambda sinks, stop: engine.run(ready, asked.registry, folder, sinks, stop),
        progress,
        stop,
    )


def resume(
    folder: str | Path,
    *,
    space: SpaceLike = "",
    strategy: StrategyLike = "",
    data: DataLike = "",
    objective: Any = "",
    trainer: Any = "",
    evaluator: Any = "",
    executor: Any = "",
    allow_changed: bool = False,
    progress: bool | None = None,
    stop: StopRequest | None = None,
) -> Run:
    """Continue an interrupted or killed run where its newest generation left it.

    Args:
        folder: of the run. It holds everything but code and data of your own.
        space: your own, where the run has one; likewise the other components. A name is held
            against what the run was started with.
        strategy: see ``space``.
        data: see ``space``.
        objective: see ``space``.
        trainer: see ``space``.
        evaluator: see ``space``.
        executor: see ``space``.
        allow_changed: continue although code or data are others than they were.
        progress: False shows nothing.
        stop: asks for an early end, from any thread.

    Raises:
        RunFolderError: no run, in use, damaged, or not the run that is described; it is unharmed.
    """
    asked = Asked()
    asked.take(space=space, strategy=strategy, data=data, objective=objective, trainer=trainer,
               evaluator=evaluator, executor=executor)  # fmt: skip
    path = Path(folder)
    return _watched(
        asked.registry,
        path,
        lambda sinks, stop: engine.resume(
            path, asked.registry, sinks, stop, asked.values or None, allow_changed
        ),
        progress,
        stop,
    )


def open_run(
    folder: str | Path,
    *,
    space: SpaceLike = "",
    strategy: StrategyLike = "",
    data: DataLike = "",
) -> Run:
    """Return a run from its folder, finished or not; nothing is changed, nothing executed.

    Args:
        folder: of the run.
        space: your own, where the run has one and networks are wanted; likewise the others.
        strategy: see ``space``.
        data: see ``space``.

    Raises:
        RunFolderError: no run, or it is damaged.
    """
    asked = Asked()
    asked.take(space=space, strategy=strategy, data=data)
    held = RunFolder.open(Path(folder))
    generation = held.latest()
    found = None if generation is None else finished_result(held, generation)
    return Run(held.path, found or Result(held.path, interrupted=True), asked.registry)


def train(
    run: Run, budget: str = "", *, out: str | Path = "", progress: bool | None = None, **words: Any
) -> Run:
    """Train a run's winner from scratch; see :meth:`nastk.library.runs.Run.train`."""
    asked = Asked()
    asked.registry = run.registry if isinstance(run.registry, Plugins) else asked.registry
    asked.set({"run.out": str(out)} if out else None, words)
    config = training_config(asked.registry, str(run.path), budget=budget, flags=asked.values)
    folder = free_folder(config, "train")
    ready = on_device(config)
    return _watched(
        asked.registry,
        folder,
        lambda sinks, stop: engine.run(ready, asked.registry, folder, sinks, stop),
        progress,
        None,
    )


def _watched(
    registry: Plugins,
    folder: Path,
    work: Callable[[Sequence[Sink], StopRequest], Result],
    progress: bool | None,
    stop: StopRequest | None,
) -> Run:
    """Do the work of a run under the user's eyes and hands."""
    if stop is not None and not isinstance(stop, StopRequest):
        raise ConfigError(f"stop: got {type(stop).__name__}, expected a nastk.StopRequest")
    asked = stop or StopRequest()
    display = make_screen(progress, folder)
    try:
        with patience(asked), threads_kept():
            result = work([display, *registry.observers()], asked)
    finally:
        display.close()
    if not result.interrupted:
        write_page(result.folder)
    return Run(Path(result.folder), result, registry)
