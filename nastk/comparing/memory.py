"""A run without a folder: the same stages, for benchmarks on which a search takes a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from nastk.assembly import World, assemble
from nastk.comparing.cells import Cell
from nastk.comparing.collecting import (
    Diary,
    amount,
    bill_of,
    metrics_from,
    settings_of_cell,
    trial_json,
)
from nastk.config import Config
from nastk.errors import DataError, NastkError
from nastk.records import Architecture, Evaluation, Trial
from nastk.registry import Registry
from nastk.rundir import RunFolder
from nastk.stages import EvaluateStage, RetrainStage, SearchStage, Stage
from nastk.trainer import Training


class Unwritten(EvaluateStage):
    """Measures the winner and writes nothing."""

    def _keep(self, architecture: Architecture, training: Training, evaluation: Evaluation) -> None:
        pass


STAGES: tuple[type[Stage], ...] = (SearchStage, RetrainStage, Unwritten)


def run_in_memory(config: Config, row: str, registry: Registry, unit: str) -> Cell:
    """Return what a run comes to, exactly that of :func:`nastk.engine.run`; nothing is written.

    A run that fails is a cell too; a mistake in the configuration is not.

    Args:
        config: of the run.
        row: label of the cell's row.
        registry: components by name.
        unit: of incumbents.

    Raises:
        UserError: parts that cannot work together.
    """
    world = assemble(config, registry)
    diary = Diary(unit)
    world.search.observer = _listener(world, diary)
    outcomes: dict[str, Any] = {}
    status, reason = "ok", ""
    try:
        for stage in STAGES:
            outcomes[stage.name] = _through(stage, world, outcomes)
        if outcomes["evaluate"]["architecture"] is None:
            status, reason = "failed", "no valid architecture was found"
    except DataError as error:
        status, reason = opened_twice(error), error.message
    except NastkError as error:
        status, reason = "failed", error.message
    found = outcomes.get("evaluate", {})
    facts = settings_of_cell(config, registry, world.search.device)
    return Cell(
        row=row,
        status=cast(Any, status),
        reason=reason,
        codes=found.get("codes", ""),
        metrics=metrics_from(found.get("metrics", {})),
        bill=bill_of(world.search.ledger, len(diary.finalists)),
        **diary.into(**facts),
    )


def opened_twice(error: DataError) -> str:
    """Return the status of a cell that ended with an error of the data.

    Its configuration was assembled before, so what is left to go wrong with the data while a run
    goes on is a split that may be opened once and was opened before.
    """
    return "peeked" if "test split" in error.message else "failed"


def _through(make: type[Stage], world: World, outcomes: Mapping[str, Any]) -> dict[str, Any]:
    stage = make(world, cast(RunFolder, None))
    stage.start(outcomes)
    while not stage.step().done:
        pass
    return stage.outcome()


def _listener(world: World, diary: Diary) -> Any:
    def hear(kind: str, values: Mapping[str, Any]) -> None:
        trial = values.get("trial")
        if isinstance(trial, Trial):
            spent = amount(world.search.ledger.total(), diary.unit)
            diary.trial(trial_json(trial), str(values.get("codes", "")), spent)
        elif kind == "finalist":
            diary.finalist(values)

    return hear
