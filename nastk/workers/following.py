"""What the other ranks do while rank 0 runs: put the same run together and train along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nastk import ranks
from nastk.assembly import World
from nastk.errors import NastkError, PairError, ShapeError, TrialError, UserError
from nastk.messages import from_bytes
from nastk.randomness import Randomness
from nastk.ranks import Team
from nastk.records import Budget, from_json
from nastk.search import Search
from nastk.trainer import Pair, Plan, Training
from nastk.workers.errands import Servant, greeting


def summon(world: World) -> None:
    """Have the other ranks, if there are any, put the same run together.

    Raises:
        PairError: the trainer trains on one device.
        ConfigError: there are fewer GPUs than ranks.
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
            training = _begin(servant.world.search, told["begin"])
        assert training is not None, "rank 0 tells what to train before how long"
        try:
            training.advance(from_json(Budget, told["budget"]))
        except TrialError:  # rank 0 has met the same, and goes on
            training = None
        except (ShapeError, UserError):  # likewise, and it has said so
            return


def _begin(search: Search, told: Mapping[str, Any]) -> Training:
    """Return a copy of the training that rank 0 has."""
    if told["space"] != search.space.identity:
        raise NastkError(
            f"rank 0 trains in a space of identity {told['space']}, this rank has "
            f"{search.space.identity}"
        )
    streams, build = Randomness(0, search.device), search.trainer.build
    # What is drawn here is overwritten by the state.
    generator, discriminator = (
        build(search.space, role, told[role], streams, told["blocks"])
        for role in ("generator", "discriminator")
    )
    pair = Pair(generator, discriminator, search.space, told["blocks"])
    training = search.trainer.begin(pair, Plan(**told["plan"]), streams)
    training.load_state_dict(told["state"])
    return training
