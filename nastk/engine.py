"""The engine: step, record, commit, stop, and nothing else.

It owns the loop, the clock and the disk. It knows stages and components by their interfaces only.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict

from nastk.assembly import World, assemble, changes, run_document
from nastk.config import Config
from nastk.errors import DiskError
from nastk.estimate import estimate
from nastk.events import FanOut, Sink, make_event
from nastk.executor import InProcess
from nastk.pictures import save_sheet
from nastk.quarantine import Guard, Quarantine
from nastk.records import Trial, to_json
from nastk.registry import Registry
from nastk.result import Result, result_of, trial_record, trial_values
from nastk.resuming import (
    CHANGED,
    check_plugins,
    finished_result,
    lost_work,
    reading,
    refuse,
    repeated_work,
    resumable,
    saved_config,
)
from nastk.retention import check_room, generations_size, thin_out
from nastk.rundir import Generation, RunFolder, check_free
from nastk.stages import OUTSIDE_BUDGET, STAGES, Stage
from nastk.trainer import Training
from nastk.workers.following import summon

__all__ = ["Result", "StopRequest", "resume", "run"]


class StopRequest:
    """A wish to stop: the engine finishes its step, commits and returns. Any thread may set it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the engine to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Return whether somebody asked."""
        return self._event.is_set()


def run(
    config: Config,
    registry: Registry,
    folder: Path,
    sinks: Sequence[Sink] = (),
    stop: StopRequest | None = None,
) -> Result:
    """Search, retrain, evaluate; everything is kept in ``folder``, which must be new or empty.

    Raises:
        UserError: a component, a pair of components, the data or the folder will not do; nothing
            has been written then.
        NastkError: too many candidates failed.
    """
    folder = Path(folder)
    check_free(folder)
    world = assemble(config, registry)
    summon(world)
    with RunFolder.create(folder, run_document(world)) as held:
        return _Loop(world, held, sinks, stop).run(None)


def resume(
    folder: Path,
    registry: Registry,
    sinks: Sequence[Sink] = (),
    stop: StopRequest | None = None,
    overrides: Mapping[str, Any] | None = None,
    allow_changed: bool = False,
) -> Result:
    """Continue a run where its newest whole generation left it; a finished run's result is read.

    Args:
        folder: of the run; nothing else is needed.
        registry: must hold the run's components.
        sinks: told of every event.
        stop: asks for an early end.
        overrides: dotted key → value that the caller believes the run to have.
        allow_changed: continue although plugins, space or data are others than they were.

    Raises:
        RunFolderError: missing, held by another process, damaged, or not the run that
            ``overrides`` and the installed plugins describe; the folder is unharmed.
    """
    held = RunFolder.open(Path(folder))
    config = saved_config(held, registry, overrides)
    if not allow_changed:
        check_plugins(held, config, registry)
    with held:
        generation = held.latest()
        if generation is not None:
            finished = finished_result(held, generation)
            if finished is not None:
                return finished
        world = assemble(config, registry, str(held.document.get("device", "")))
        if not allow_changed:
            refuse(held, changes(held.document, world), CHANGED)
        summon(world)
        return _Loop(world, held, sinks, stop).run(generation, resumed=True)


class _Loop:
    """One process at work on one run."""

    def __init__(
        self, world: World, folder: RunFolder, sinks: Sequence[Sink], stop: StopRequest | None
    ) -> None:
        self.world = world
        self.folder = folder
        self.stop = stop or StopRequest()
        self.fan = FanOut(sinks)
        self.tick = 0
        self.index = 0
        self.outcomes: dict[str, Any] = {}
        self.stage: Stage | None = None
        self.ledger = world.search.ledger
        world.search.observer = self._event
        self.quarantine = Quarantine(folder, world.config.engine.max_crashes)
        world.search.quarantine = self.quarantine
        if isinstance(world.search.executor, InProcess):
            limit = world.config.engine.candidate_seconds
            world.search.executor.guard = Guard(self.quarantine, limit)
        world.search.executor.listener = lambda line: self._tell("warning", {"message": line})

    def run(self, generation: Generation | None, *, resumed: bool = False) -> Result:
        """Work from ``generation`` (None: from the start) until finished or stopped."""
        if generation is not None:
            with reading(generation):
                self._restore(generation)
        ended = "failed"
        if resumed:
            self._rewind(generation)
        else:
            self._session("start")
        try:
            if generation is None:
                self._event("start", self._description())
                self._tell("folder", {"folder": str(self.folder.path)})
                self._enter_stage()
            with self.quarantine.watching():
                ended = self._drive()
        except DiskError as error:
            raise resumable(self.folder, error) from None
        finally:
            self.world.search.executor.close()
            with suppress(DiskError):  # the disk may be what ended the run
                self._session("stop", reason=ended, labels=self.world.labels.told())
        if ended == "interrupted":
            self._tell("interrupted", {"generation": self.tick})
        stopped = ended == "interrupted"
        return result_of(self.folder.path, self.outcomes, self.ledger, interrupted=stopped)

    # -- the loop ------------------------------------------------------------------------------

    def _drive(self) -> str:
        while self.stage is not None:
            if self.stop.is_set():
                self._write_generation()
                return "interrupted"
            self._step(self.stage)
        return "finished"

    def _step(self, stage: Stage) -> None:
        report = stage.step()
        self.tick += 1
        told = {"stage": stage.name, "message": report.message, "share": report.share,
                "values": report.values, "done": report.done}  # fmt: skip
        self._event("step", told)
        scheduled = self.tick % self.world.config.engine.commit_every == 0
        if not (scheduled or report.milestone or report.done):
            return
        pictures = stage.pictures()
        if report.done:
            self.outcomes[stage.name] = stage.outcome()
            self.index += 1
            self._enter_stage()
        self._commit(pictures)

    def _enter_stage(self) -> None:
        """Make the stage at ``index`` the current one; after the last the run is finished."""
        self.stage = None
        if self.index == len(STAGES):
            self._event("result", self.outcomes["evaluate"])
            return
        self.stage = self._made_stage()
        self._event("stage", {"stage": self.stage.name})
        self.stage.start(self.outcomes)

    def _made_stage(self) -> Stage:
        stage = STAGES[self.index](self.world, self.folder)
        stage.began = self._foretell
        return stage

    def _foretell(self, training: Training) -> None:
        """Say what the run takes, now that the final training is there, and check for room.

        Raises:
            DiskError: there is not enough.
        """
        needs = estimate(self.world, training, self.tick, generations_size(self.folder))
        self._tell("needs", asdict(needs))
        check_room(self.folder, self.world.config.engine.reserve_mb * 2**20, needs.disk)

    # -- state ---------------------------------------------------------------------------------

    def _commit(self, pictures: Any) -> None:
        sheet = "" if pictures is None else f"sheets/{self.tick:05d}.png"
        if sheet:
            save_sheet(self.folder.path / sheet, pictures)
            thin_out(self.folder, self.tick, self.world.config.engine.sheets)
        # Announced before it is committed, so that the generation holds its own announcement.
        self._event("generation", {"generation": self.tick, "sheet": sheet})
        self._write_generation()

    def _write_generation(self) -> None:
        search = self.world.search
        engine = {"tick": self.tick, "stage": self.index, "finished": self.stage is None,
                  "outcomes": self.outcomes}  # fmt: skip
        states = {
            "engine": engine,
            "stage": None if self.stage is None else self.stage.state_dict(),
            "randomness": search.randomness.state_dict(),
            "ledger": search.ledger.state_dict(),
            "memory": search.memory.state_dict(),
        }
        check_room(self.folder, self.world.config.engine.reserve_mb * 2**20)
        self.folder.commit(self.tick, states, self.world.config.engine.keep)

    def _restore(self, generation: Generation) -> None:
        states, search = generation.states, self.world.search
        engine = states["engine"]
        self.tick, self.index = engine["tick"], engine["stage"]
        self.outcomes = dict(engine["outcomes"])
        self.stage = self._made_stage()
        # The ledger and the streams come first for whoever reads them in start, and the streams
        # again last, for whoever drew from them there.
        search.ledger.load_state_dict(states["ledger"])
        search.memory.load_state_dict(states["memory"])
        search.randomness.load_state_dict(states["randomness"])
        self.stage.start(self.outcomes)
        self.stage.load_state_dict(states["stage"])
        search.randomness.load_state_dict(states["randomness"])

    def _rewind(self, generation: Generation | None) -> None:
        """Cut off what was not committed, and count it as repeated work."""
        lost = lost_work(self.folder, generation)
        self.folder.rewind(generation)
        number = None if generation is None else generation.number
        self._session("start", generation=number, repeated=to_json(lost))
        self.ledger.repeated = repeated_work(self.folder)
        self._tell("resumed", {"generation": number, "repeated": to_json(lost)})
        warnings = () if generation is None else generation.warnings
        for line in (*warnings, self.quarantine.inquest()):
            if line:
                self._tell("warning", {"message": line})

    # -- telling -------------------------------------------------------------------------------

    def _event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Journal an event and tell the sinks."""
        trial = values.get("trial")
        if isinstance(trial, Trial):
            codes = str(values.get("codes", ""))
            self.folder.append("candidates", trial_record(trial, codes))
            values = trial_values(trial, codes)
        event = make_event(kind, self.tick, self.ledger.total(), values)
        self.folder.append("events", event)
        self.fan.emit(event)

    def _tell(self, kind: str, values: Mapping[str, Any]) -> None:
        """Tell the sinks of something that is no part of the run's result."""
        self.fan.emit(make_event(kind, self.tick, self.ledger.total(), values))

    def _session(self, kind: str, **values: Any) -> None:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "at": round(time.time(), 3)}
        self.folder.append("sessions", {"type": kind, "step": self.tick, **who, **values})

    def _description(self) -> dict[str, Any]:
        world, search = self.world, self.world.search
        names = {e.component.kind: e.component.name for e in world.entries}
        return {
            "components": names,
            "device": search.device,
            "seed": search.seed,
            "budget": None if world.budget is None else to_json(world.budget),
            "space": search.space.identity,
            "final": {"leaders": world.config.final.leaders, "steps": world.config.final.steps},
            "outside_budget": list(OUTSIDE_BUDGET),
        }
