"""What this plugin registers; imports nothing heavy."""

from nastk import hookimpl
from nastk.registry import Component

nastk_api = "1.0"
"""Version of nastk's plugin API that this plugin is made for."""


@hookimpl
def register_components() -> list[Component]:
    """Return the strategy ``hillclimb``."""
    return [
        Component(
            kind="strategy",
            name="hillclimb",
            factory="nastk_hillclimb.strategy:HillClimb",
            config="nastk_hillclimb.config:Config",
            summary="changes the best architecture so far, with restarts",
        )
    ]
