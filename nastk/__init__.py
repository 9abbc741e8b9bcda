"""nastk: neural architecture search for generative adversarial networks.

``nastk.search(space, strategy="tpe", data="digits", budget="3min")`` searches; the other names of
``__all__`` are what a space, a strategy or another component of one's own is made of. Each is
imported when it is first asked for, so that ``import nastk`` costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nastk.hookspecs import hookimpl

if TYPE_CHECKING:
    from nastk.dataset import Dataset, Split
    from nastk.engine import StopRequest
    from nastk.errors import (
        ConfigError,
        DataError,
        NastkError,
        PairError,
        PluginError,
        RunFolderError,
        ShapeError,
        SpaceError,
        TrialError,
        UserError,
    )
    from nastk.evaluator import Candidate, Evaluator
    from nastk.executor import Executor
    from nastk.library import (
        Contest,
        Pictures,
        Run,
        Sketch,
        compare,
        draw,
        resume,
        search,
    )
    from nastk.library import open_run as open  # noqa: A004
    from nastk.objective import Exchange, Objective, Scores
    from nastk.passes import NetworkPass
    from nastk.randomness import Randomness
    from nastk.records import (
        Architecture,
        Budget,
        Cost,
        Decision,
        Evaluation,
        InputSpec,
        Leader,
        Metric,
        MetricCard,
        Task,
        Trial,
    )
    from nastk.registry import Component
    from nastk.space import Pick, SearchSpace
    from nastk.strategy import AskTellStrategy, StepReport, Strategy
    from nastk.trainer import Pair, Plan, Trainer, Training

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "AskTellStrategy",
    "Budget",
    "Candidate",
    "Component",
    "ConfigError",
    "Contest",
    "Cost",
    "DataError",
    "Dataset",
    "Decision",
    "Evaluation",
    "Evaluator",
    "Exchange",
    "Executor",
    "InputSpec",
    "Leader",
    "Metric",
    "MetricCard",
    "NastkError",
    "NetworkPass",
    "Objective",
    "Pair",
    "PairError",
    "Pick",
    "Pictures",
    "Plan",
    "PluginError",
    "Randomness",
    "Run",
    "RunFolderError",
    "Scores",
    "SearchSpace",
    "ShapeError",
    "Sketch",
    "SpaceError",
    "Split",
    "StepReport",
    "StopRequest",
    "Strategy",
    "Task",
    "Trainer",
    "Training",
    "Trial",
    "TrialError",
    "UserError",
    "__version__",
    "compare",
    "draw",
    "hookimpl",
    "open",
    "resume",
    "search",
]

_HOMES = {
    "dataset": "Dataset Split",
    "engine": "StopRequest",
    "errors": "ConfigError DataError NastkError PairError PluginError RunFolderError ShapeError "
    "SpaceError TrialError UserError",
    "evaluator": "Candidate Evaluator",
    "executor": "Executor",
    "library": "Contest Pictures Run Sketch compare draw resume search open=open_run",
    "objective": "Exchange Objective Scores",
    "passes": "NetworkPass",
    "randomness": "Randomness",
    "records": "Architecture Budget Cost Decision Evaluation InputSpec Leader Metric MetricCard "
    "Task Trial",
    "registry": "Component",
    "space": "Pick SearchSpace",
    "strategy": "AskTellStrategy StepReport Strategy",
    "trainer": "Pair Plan Trainer Training",
}
"""Module → names that live there; ``name=other`` where they have another one there."""

_LAZY = {
    word.partition("=")[0]: (f"nastk.{module}", word.partition("=")[2] or word)
    for module, words in _HOMES.items()
    for word in words.split()
}


class _Package(ModuleType):
    """This package, in which ``nastk.search`` stays the function.

    Importing the module ``nastk.search`` would put it in the function's place; that module is
    reached by ``from nastk.search import …``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nastk' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
