"""A generation of a run, opened: the networks that were in final training then, or the winner's.

A run need not be finished for that, nor stand still. Nothing in its folder is executed or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.assembly import World, assemble
from nastk.errors import RunFolderError
from nastk.finished.opening import Finished, filled
from nastk.records import Architecture, Metric, Role, from_json
from nastk.registry import Registry
from nastk.resuming import reading, saved_config
from nastk.rundir import RUN_DOCUMENT, Generation, RunFolder
from nastk.stages import STAGES, EvaluateStage, RetrainStage, SearchStage, Stage, begin_final
from nastk.state import plain_weights

if TYPE_CHECKING:
    from nastk.nn.choice import Network
    from nastk.trainer import Training

GENERATIONS = "generations"


@frozen(kw_only=True)
class Checkpoint(Finished):
    """A pair as a generation holds it; ``path`` is the folder of the run.

    ``metrics`` are those of the winner of a finished run, else there are none.

    Attributes:
        number: of the generation.
        steps: generator updates that the pair was trained for.
        kind: ``ema`` or ``live``, whichever its generator's weights are.
        weights: of both networks, on the CPU, as they take effect in eval mode.
    """

    number: int
    steps: int
    kind: str
    weights: Mapping[Role, Mapping[str, Any]] = field(eq=False, repr=False)

    @property
    def weights_kind(self) -> str:
        """``ema`` or ``live``."""
        return self.kind

    def _network(self, role: Role, device: str) -> Network:
        return filled(self.space, role, self.architecture, lambda _: self.weights[role], device)


def is_generation(path: Path) -> bool:
    """Return whether ``path`` is the folder of a generation of a run: ``RUN/generations/N``."""
    path = path.absolute()
    whose = path.parent.parent / RUN_DOCUMENT
    return path.parent.name == GENERATIONS and path.name.isdecimal() and whose.is_file()


def open_checkpoint(path: Path, registry: Registry) -> Checkpoint:
    """Return the pair that a generation holds: in training, or the best one trained so far.

    The run's plugins and data must be there, as for resuming; its folder is only read.

    Raises:
        RunFolderError: it is damaged, does not fit, or its search was still under way.
        UserError: a plugin or the data is missing.
    """
    folder = RunFolder.open(path.absolute().parent.parent)
    generation = folder.generation(int(path.name))
    world = _world(folder, registry)
    with reading(generation):
        stage = _stage(world, folder, generation)
    if isinstance(stage, SearchStage):
        raise _of_a_search(stage, folder, generation)
    with reading(generation):
        found = _pair(world, stage)
    if found is None:
        raise RunFolderError(f"{path}: holds no trained pair", _why_none(folder, generation))
    architecture, training = found
    live: dict[Role, Any] = {
        "generator": training.eval_generator(),
        "discriminator": training.pair.discriminator,
    }
    return Checkpoint(
        path=folder.path,
        space=world.search.space,
        architecture=architecture,
        metrics=_metrics(generation),
        number=generation.number,
        steps=training.cost.steps,
        kind="ema" if training.averaged else "live",
        weights={role: plain_weights(network) for role, network in live.items()},
    )


def _metrics(generation: Generation) -> dict[str, Metric]:
    """Return what the run measured of its winner; nothing where it is not finished."""
    with reading(generation):
        found = generation.states["engine"]["outcomes"].get("evaluate", {}).get("metrics", {})
        return {name: from_json(Metric, metric) for name, metric in found.items()}


def _world(folder: RunFolder, registry: Registry) -> World:
    """Return the parts of the run, on the CPU; the number of threads stays as it is."""
    import torch

    threads = torch.get_num_threads()
    try:
        return assemble(saved_config(folder, registry, None), registry, "cpu")
    finally:
        torch.set_num_threads(threads)


def _stage(world: World, folder: RunFolder, generation: Generation) -> Stage:
    """Return the stage that was under way, with its state; the last one of a finished run."""
    engine, search = generation.states["engine"], world.search
    stage: Stage = STAGES[min(engine["stage"], len(STAGES) - 1)](world, folder)
    search.ledger.load_state_dict(generation.states["ledger"])
    search.memory.load_state_dict(generation.states["memory"])
    search.randomness.load_state_dict(generation.states["randomness"])
    stage.start(engine["outcomes"])
    if not engine["finished"]:
        stage.load_state_dict(generation.states["stage"])
    return stage


def _pair(world: World, stage: Stage) -> tuple[Architecture, Training] | None:
    """Return the pair in training, else the best that was trained, else None."""
    assert isinstance(stage, RetrainStage | EvaluateStage)
    if isinstance(stage, RetrainStage) and stage.training is not None:
        return stage.queue[stage.index], stage.training
    if stage.best is None:
        return None
    architecture = from_json(Architecture, stage.best["architecture"])
    training = begin_final(world, architecture, stage.best["index"])
    training.load_state_dict(stage.best["training"])
    return architecture, training


def _why_none(folder: RunFolder, generation: Generation) -> str:
    if generation.states["engine"]["finished"]:
        return f"every final training failed; 'nastk resume {folder.path}' says how"
    return "its final training had not begun; a later generation will hold one"


def _of_a_search(stage: SearchStage, folder: RunFolder, generation: Generation) -> RunFolderError:
    """Return an error that names what can be done with a search that is under way."""
    with reading(generation):
        leaders = stage.world.strategy.leaders()
    where = folder.path / GENERATIONS / f"{generation.number:05d}"
    what = f"{where}: its search was under way, and networks of a search are not measured"
    resume = f"'nastk resume {folder.path}' goes on to the final training"
    if not leaders:
        return RunFolderError(what, resume)
    space = stage.search.space
    codes = space.encode(leaders[0].architecture)
    return RunFolderError(
        what, f"{resume}; 'nastk train \"{codes}\" --space {space.name}' trains its leader so far"
    )
