"""Random search, TPE and NSGA-II of Optuna as strategies for nastk."""

from nastk import hookimpl
from nastk.registry import Component

_STRATEGIES = (
    ("random", "RandomStrategy", "RandomConfig", "independent uniform draws, the baseline of all"),
    ("tpe", "TpeStrategy", "TpeConfig", "tree-structured Parzen estimator, one model per decision"),
    ("nsga2", "Nsga2Strategy", "Nsga2Config", "genetic search of a Pareto front (NSGA-II)"),
)


@hookimpl
def register_components() -> list[Component]:
    """Return the strategies ``random``, ``tpe`` and ``nsga2``."""
    return [
        Component(
            kind="strategy",
            name=name,
            factory=f"nastk_optuna.strategy:{factory}",
            config=f"nastk_optuna.config:{config}",
            summary=summary,
        )
        for name, factory, config, summary in _STRATEGIES
    ]
