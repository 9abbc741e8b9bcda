"""Random search, TPE and NSGA-II of Optuna, and random search with shared weights."""

from nastk import hookimpl
from nastk.registry import Component

_STRATEGIES = (
    (
        "random",
        "strategy:RandomStrategy",
        "RandomConfig",
        "independent uniform draws, the baseline of all",
    ),
    (
        "random-sharing",
        "random_sharing:RandomSharingStrategy",
        "SharingConfig",
        "uniform draws, rated with the weights of one supernet",
    ),
    (
        "tpe",
        "strategy:TpeStrategy",
        "TpeConfig",
        "tree-structured Parzen estimator, one model per decision",
    ),
    (
        "nsga2",
        "strategy:Nsga2Strategy",
        "Nsga2Config",
        "genetic search of a Pareto front (NSGA-II)",
    ),
)

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the strategies ``random``, ``random-sharing``, ``tpe`` and ``nsga2``."""
    return [
        Component(
            kind="strategy",
            name=name,
            factory=f"nastk_optuna.{factory}",
            config=f"nastk_optuna.config:{config}",
            summary=summary,
        )
        for name, factory, config, summary in _STRATEGIES
    ]
