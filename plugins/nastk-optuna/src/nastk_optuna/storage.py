"""Where an Optuna study lives, and a study as plain JSON data.

Nothing here unpickles anything: databases and journal files hold text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from attrs import define
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nastk.errors import ConfigError
from nastk.records import Direction

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts to open a database whose tables are being made."""

_DIRECTIONS: dict[Direction, StudyDirection] = {
    "minimise": StudyDirection.MINIMIZE,
    "maximise": StudyDirection.MAXIMIZE,
}


@define
class Shelf:
    """A study and the storage that it stands in.

    Attributes:
        storage: Optuna's.
        study: Optuna's.
    """

    storage: BaseStorage
    study: optuna.Study

    @property
    def study_id(self) -> int:
        """The storage's number of the study."""
        return self.storage.get_study_id_from_name(self.study.study_name)

    def trial(self, number: int) -> Trial:
        """Return the live trial of that number."""
        found = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        return Trial(self.study, found)


def open_shelf(
    where: str,
    name: str,
    directions: Sequence[Direction],
    sampler: BaseSampler,
    pruner: BasePruner,
) -> Shelf:
    """Return the study of that name, made if it is not there.

    Args:
        where: what :func:`absolute` returned; empty: a new study in memory.
        name: of the study.
        directions: ``minimise`` or ``maximise`` per objective.
        sampler: proposes.
        pruner: decides who goes on.

    Raises:
        ConfigError: the storage cannot be opened, or its study has other directions.
    """
    optunas = [_DIRECTIONS[direction] for direction in directions]
    try:
        storage = _patiently(where)
        with quiet():
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=optunas,
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
    except Exception as error:  # drivers, SQL, locks and damaged journals each raise their own
        text = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"storage '{where}': cannot be opened as an Optuna study: "
            f"{type(error).__name__}: {text}",
            "expected a database URL such as sqlite:///trials.db, or the path of a journal file",
        ) from None
    if study.directions != optunas:
        raise ConfigError(
            f"study '{name}' in '{where}': got {len(study.directions)} objectives of other "
            f"directions, expected {', '.join(directions)}",
            "give this search a study name of its own: strategy.study",
        )
    return Shelf(storage, study)


def _patiently(where: str) -> BaseStorage:
    """Open a storage; again after a moment where another process is just making its tables."""
    from sqlalchemy.exc import DBAPIError

    for pause in PAUSES:
        try:
            return _storage(where)
        except (DBAPIError, StorageInternalError, RuntimeError):
            time.sleep(pause)
    return _storage(where)


def _storage(where: str) -> BaseStorage:
    if not where:
        return InMemoryStorage()
    if "://" in where:
        return RDBStorage(where)
    return JournalStorage(JournalFileBackend(where))


def absolute(storage: str) -> str:
    """Return ``storage`` such that it means the same in any working directory.

    Raises:
        ConfigError: a URL that cannot be read.
    """
    if not storage:
        return ""
    if "://" not in storage:
        return str(Path(storage).expanduser().absolute())
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):
        raise ConfigError(f"storage '{storage[:80]}': got no valid database URL") from None
    file = url.database or ""
    if url.get_backend_name() != "sqlite" or file in ("", ":memory:") or file.startswith("file:"):
        return storage
    return url.set(database=str(Path(file).absolute())).render_as_string(hide_password=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's remarks off the screen for a while; its warnings still show."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


# -- a study as data -------------------------------------------------------------------------------


def dump(shelf: Shelf) -> dict[str, Any]:
    """Return all trials of a study and what its sampler keeps there, as JSON data."""
    trials = [_dump_trial(t) for t in shelf.study.get_trials(deepcopy=False)]
    attrs = shelf.storage.get_study_system_attrs(shelf.study_id)
    return {"trials": trials, "attrs": dict(attrs)}


def restore(shelf: Shelf, data: Mapping[str, Any]) -> None:
    """Fill an empty study in memory with what :func:`dump` returned; numbers stay the same."""
    for trial in data["trials"]:
        shelf.study.add_trial(_load_trial(trial))
    for key, value in data["attrs"].items():
        shelf.storage.set_study_system_attr(shelf.study_id, key, value)


def _dump_trial(trial: FrozenTrial) -> dict[str, Any]:
    options = {n: list(d.choices) for n, d in _categorical(trial).items()}
    return {
        "state": trial.state.name,
        "values": trial.values,
        "params": dict(trial.params),
        "options": options,
        "user_attrs": dict(trial.user_attrs),
        "system_attrs": dict(trial.system_attrs),
        "reports": [[step, value] for step, value in trial.intermediate_values.items()],
    }


def _categorical(trial: FrozenTrial) -> dict[str, CategoricalDistribution]:
    known = trial.distributions.items()
    return {n: d for n, d in known if isinstance(d, CategoricalDistribution)}


def _load_trial(data: Mapping[str, Any]) -> FrozenTrial:
    return create_trial(
        state=TrialState[data["state"]],
        values=data["values"],
        params=dict(data["params"]),
        distributions={n: CategoricalDistribution(o) for n, o in data["options"].items()},
        user_attrs=dict(data["user_attrs"]),
        system_attrs=dict(data["system_attrs"]),
        intermediate_values=dict(data["reports"]),
    )
