"""The default search under a stopwatch: where the seconds of ``nastk run`` go.

The command runs as a user runs it, in a process of its own whose clock starts with it and with a
terminal for its progress. Functions are wrapped in that process; each second is counted once, for
the innermost wrapped function.
"""

from __future__ import annotations

import functools
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from benchmarks.measure import ROOT

QUICK = {
    "strategy.warm_steps": 4, "strategy.unit_steps": 4, "strategy.finetune_steps": 4,
    "strategy.rate_first": 4, "strategy.rate_uniform": 2, "strategy.rate_mutations": 1,
    "final.steps": 8, "final.samples": 64,
}  # fmt: skip
"""Settings that end the search in seconds and prove only that it can be measured."""
START, REPORT, SCREEN = "start", "report", "screen"
STRATEGY, LOOP, EVENTS, COMMITS, PICTURES = "strategy", "loop", "events", "commits", "pictures"
TRAINING, BUILDING, RATING, PRICING = "training ", "building", "rating", "pricing"
MEASURING = {"search": "measuring", "retrain": "measuring", "evaluate": "evaluating"}
ENGINE = (LOOP, EVENTS, COMMITS, PICTURES, SCREEN)
"""What the engine does around the work: the loop itself, journals and their listeners, generations,
sheets, and the thread that redraws the progress bar."""


class Stopwatch:
    """Counts time for the innermost of nested labels.

    Args:
        root: label of whatever is under no other.
        clocks: name → clock in seconds; the first may have started before this object.

    Attributes:
        spent: clock → label → seconds.
        calls: label → how often it was entered.
    """

    def __init__(self, root: str, clocks: dict[str, Callable[[], float]]) -> None:
        self._clocks = clocks
        self._stack = [root]
        self._marks = {name: clock() for name, clock in clocks.items()}
        self.spent: dict[str, dict[str, float]] = {name: {} for name in clocks}
        self.calls: dict[str, int] = {}

    @contextmanager
    def under(self, label: str) -> Iterator[None]:
        """Count what happens inside for ``label``."""
        self._charge()
        self._stack.append(label)
        self.calls[label] = self.calls.get(label, 0) + 1
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def wrap(self, owner: Any, name: str, label: str | Callable[..., str]) -> None:
        """Replace ``owner.name`` by a function that counts for ``label`` (of its arguments)."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args: Any, **kwargs: Any) -> Any:
            with self.under(label if isinstance(label, str) else label(*args, **kwargs)):
                return inner(*args, **kwargs)

        setattr(owner, name, outer)

    def add(self, label: str, seconds: float) -> None:
        """Count CPU seconds of another thread."""
        self.spent["cpu"][label] = self.spent["cpu"].get(label, 0.0) + seconds

    def close(self) -> None:
        """Count what is left."""
        self._charge()

    def _charge(self) -> None:
        label = self._stack[-1]
        for name, clock in self._clocks.items():
            now = clock()
            spent = self.spent[name]
            spent[label] = spent.get(label, 0.0) + now - self._marks[name]
            self._marks[name] = now


def attach(watch: Stopwatch) -> None:
    """Wrap the functions of nastk that do the work of a default search."""
    from nastk import engine, stages
    from nastk.cli import execute
    from nastk.gan import loop, trainer
    from nastk.metrics import evaluator
    from nastk_blockwise import proposals, rating

    phases: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
    begin = trainer.GanTrainer.begin

    def begun(self: Any, pair: Any, plan: Any, randomness: Any) -> Any:
        training = begin(self, pair, plan, randomness)
        phases[training] = plan.phase
        return training

    # Before it is wrapped, so that what it builds is counted too.
    trainer.GanTrainer.begin = begun  # type: ignore[method-assign]
    current = {"stage": "search"}

    def stage_of(stage: Any) -> str:
        current["stage"] = stage.name
        return STRATEGY if stage.name == "search" else LOOP

    watch.wrap(loop.GanTraining, "advance", lambda self, budget: TRAINING + phases[self])
    watch.wrap(trainer.GanTrainer, "build", BUILDING)
    watch.wrap(trainer.GanTrainer, "begin", BUILDING)
    watch.wrap(rating.Rater, "rate", RATING)
    watch.wrap(proposals.Limits, "cost", PRICING)
    watch.wrap(
        evaluator.StandardEvaluator, "evaluate", lambda *_, **__: MEASURING[current["stage"]]
    )
    for stage in stages.STAGES:
        watch.wrap(stage, "start", lambda self, outcomes: stage_of(self))
        watch.wrap(stage, "step", stage_of)
        watch.wrap(stage, "pictures", PICTURES)
    watch.wrap(engine, "save_sheet", PICTURES)
    for name, label in (("run", LOOP), ("_event", EVENTS), ("_write_generation", COMMITS)):
        watch.wrap(engine._Loop, name, label)
    watch.wrap(execute, "write_page", REPORT)


@functools.cache
def default_search(*, quick: bool) -> dict[str, Any]:
    """Return where the time of the default search goes; measured once a process.

    Returns:
        ``cpu`` and ``wall``: label → seconds, ``calls``: label → number, ``generations``.
    """
    settings = QUICK if quick else {}
    with tempfile.TemporaryDirectory() as name:
        run, out = Path(name, "run"), Path(name, "found.json")
        flags = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        _under_terminal([str(out), "run", "--out", str(run), "--device", "cpu", *flags])
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def _under_terminal(arguments: list[str]) -> None:
    """Run this module with a terminal as its standard error; raise with its last words."""
    ours, theirs = pty.openpty()
    said: list[bytes] = []
    drain = threading.Thread(target=_drain, args=(ours, said), daemon=True)
    drain.start()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "120"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.stopwatch", *arguments],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=theirs, check=False,
        )  # fmt: skip
    finally:
        os.close(theirs)
        drain.join()
        os.close(ours)
    if done.returncode:
        raise RuntimeError(f"the search failed: {b''.join(said).decode()[-800:]}")


def _drain(handle: int, said: list[bytes]) -> None:
    try:
        while data := os.read(handle, 65536):
            said.append(data)
    except OSError:  # the other side is closed
        return


def main(out: Path, arguments: list[str]) -> None:
    """Run a command of nastk and write where its time went."""
    watch = Stopwatch(START, {"cpu": time.thread_time, "wall": time.perf_counter})
    # What importing this module took; the interpreter's own start is in it.
    watch.spent["cpu"][START] = time.process_time()
    attach(watch)
    from nastk.cli import main as command

    try:
        sys.argv = ["nastk", *arguments]
        command()
    except SystemExit as ended:
        if ended.code:
            raise
    watch.close()
    # Everything but the main thread: the progress bar's redrawing.
    watch.add(SCREEN, max(0.0, time.process_time() - sum(watch.spent["cpu"].values())))
    folder = Path(arguments[arguments.index("--out") + 1])
    sheets = len(list((folder / "sheets").iterdir()))
    document = {**watch.spent, "calls": watch.calls, "generations": sheets}
    out.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
