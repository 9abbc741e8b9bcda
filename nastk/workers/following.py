"""What the other ranks do while rank 0 runs: put the same run together and train along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nastk import ranks
from nastk.archtext import space_made
from nastk.assembly import World
from nastk.errors import ConfigError, NastkError, PairError, ShapeError, TrialError, UserError
from nastk.executor import InProcess
from nastk.messages import from_bytes
from nastk.randomness import Randomness
from nastk.ranks import Team
from nastk.records import Budget, from_json
from nastk.registry import Registry
from nastk.space import SearchSpace
from nastk.trainer import Pair, Plan, Training
from nastk.workers.errands import Servant, greeting


def summon(world: World) -> None:
    """Have the other ranks, if there are any, put the same run together.

    Raises:
        PairError: the trainer trains on one device, or the executor uses processes of its own.
        ConfigError: there are fewer GPUs than ranks, or candidates have a time limit.
    """
    team = ranks.team()
    if team is None:
        return
    trainer = world.search.trainer
    if not trainer.shares:
        raise PairError(
            f"trainer '{trainer.name}' does not share its work among {team.size} ranks",
            "run it without torchrun",
        )
    if not isinstance(world.search.executor, InProcess):
        raise PairError(
            f"executor '{world.config.run.executor}' and {team.size} ranks of torchrun: both share "
            "work among processes, expected one of them",
            "--set run.executor=in-process, or run it without torchrun",
        )
    if world.config.engine.candidate_seconds:
        raise ConfigError(
            f"engine.candidate_seconds: got {world.config.engine.candidate_seconds:g} with "
            f"{team.size} ranks, expected 0",
        )
    ranks.own_device(world.search.device)
    team.tell(greeting(world, world.search.device))


def follow(team: Team) -> None:
    """Do as rank 0 says until it has no more to say.

    Raises:
        RankLostError: rank 0 is gone.
        NastkError: this rank sees another run than rank 0.
    """
    servant = Servant()
    training: Training | None = None
    while message := team.hear():
        told = from_bytes(message)
        if "config" in told:
            servant, training = Servant(), None
            servant.greet({**told, "device": ranks.own_device(told["device"])})
            continue
        assert servant.world is not None, "rank 0 tells of the run before its trainings"
        if told["begin"] is not None:
            training = _begin(servant.world, told["begin"])
        assert training is not None, "rank 0 tells what to train before how long"
        try:
            training.advance(from_json(Budget, told["budget"]))
        except TrialError:  # rank 0 has met the same, and goes on
            training = None
        except (ShapeError, UserError):  # likewise, and it has said so
            return


def _begin(world: World, told: Mapping[str, Any]) -> Training:
    """Return a copy of the training that rank 0 has."""
    search, space = world.search, _space(world, told["space"])
    streams, build = Randomness(0, search.device), search.trainer.build
    # What is drawn here is overwritten by the state.
    generator, discriminator = (
        build(space, role, told[role], streams, told["blocks"])
        for role in ("generator", "discriminator")
    )
    pair = Pair(generator, discriminator, space, told["blocks"])
    training = search.trainer.begin(pair, _plan(told), streams)
    training.load_state_dict(told["state"])
    return training


def _plan(told: Mapping[str, Any]) -> Plan:
    """Return rank 0's plan; that it has a callback is known here, what that does is not."""
    names = told["trainable"]
    callbacks: dict[str, Any] = dict.fromkeys(told["callbacks"], _at_rank_0)
    return Plan(
        **told["plan"],
        **callbacks,
        trainable=None if names is None else frozenset(names).__contains__,
    )


def _at_rank_0(*_: Any) -> None:
    raise NotImplementedError("rank 0 calls a plan's callbacks")


def _space(world: World, told: Mapping[str, Any]) -> SearchSpace:
    """Return the run's space, or what a strategy made of it: with other settings, or narrowed.

    Raises:
        NastkError: it does not come out as rank 0's.
    """
    space = world.search.space
    if told["settings"] != dict(space.settings):
        registry = Registry()
        for entry in world.entries:
            registry.add(entry)
        space = space_made(registry, space.name, told["settings"], space.task)
    known = {decision.name for decision in space.decisions}
    space = space.restrict({n: kept for n, kept in told["allowed"].items() if n in known})
    if told["identity"] != space.identity:
        raise NastkError(
            f"rank 0 trains in a space of identity {told['identity']}, this rank has "
            f"{space.identity}"
        )
    return space
