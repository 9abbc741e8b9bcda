"""nastk's own components, registered through the same hook as everybody's."""

from __future__ import annotations

from nastk.data.components import COMPONENTS as DATA
from nastk.gan.components import COMPONENTS as GAN
from nastk.hookspecs import hookimpl
from nastk.metrics.components import COMPONENTS as METRICS
from nastk.registry import Component

_OTHERS = [
    Component(
        kind="executor",
        name="in-process",
        factory="nastk.executor:in_process",
        summary="one candidate after another in this process",
    ),
    Component(
        kind="executor",
        name="processes",
        factory="nastk.workers.processes:processes",
        config="nastk.workers.config:ProcessesConfig",
        summary="several candidates at a time, in processes with a device each",
    ),
    Component(
        kind="strategy",
        name="fixed",
        factory="nastk.fixed:FixedStrategy",
        config="nastk.fixed:FixedConfig",
        summary="no search: one given architecture is trained and measured",
    ),
    Component(
        kind="strategy",
        name="sampling",
        factory="nastk.fixed:SampledStrategy",
        summary="no search: one architecture drawn at random is trained and measured",
    ),
    Component(
        kind="pass",
        name="spectral-norm",
        factory="nastk.nn.spectral:make",
        summary="spectral normalisation of the discriminator's layers",
    ),
]


@hookimpl
def register_components() -> list[Component]:
    """Return the data sets, objectives, trainers, evaluators, passes and the rest."""
    return [*DATA, *GAN, *METRICS, *_OTHERS]
