"""A command under ``torchrun``: rank 0 is the one that the user sees, the others follow it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from nastk import ranks
from nastk.errors import ConfigError, NastkError

if TYPE_CHECKING:
    from nastk.ranks import Team

F = TypeVar("F", bound=Callable[..., Any])

LOST = 1

SHARED = ("run", "resume", "train")
"""Commands whose trainings share their batches."""


def together(function: F) -> F:
    """Let a command be started by ``torchrun``: its trainings share their batches."""

    @wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        if ranks.count() == 1:
            return function(*args, **kwargs)
        with ranks.joined() as team:
            return function(*args, **kwargs) if team.leads else _follow(team)

    return command  # type: ignore[return-value]


def check(command: str) -> None:
    """Refuse to start a command several times at once, as ``torchrun`` would.

    Raises:
        ConfigError: it is not one of :data:`SHARED`.
    """
    if ranks.count() > 1 and command not in SHARED:
        raise ConfigError(
            f"torchrun: got {ranks.count()} processes of 'nastk {command}', expected 1",
            f"only {', '.join(SHARED)} share their trainings among processes",
        )


def _follow(team: Team) -> int:
    """Follow rank 0; return the exit code.

    SIGINT and SIGTERM are for rank 0 to obey, which ends the others.

    Raises:
        NastkError: this rank failed by itself; the line says which.
    """
    from nastk.workers.following import follow

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        follow(team)
    except ranks.RankLostError:  # rank 0, or torchrun, says so
        return LOST
    except Exception as error:
        raise NastkError(f"rank {team.rank}: {error}") from error
    return 0
