"""AdversarialNAS for nastk: cells for G and D, and a differentiable search of any space.

Source: C. Gao, Y. Chen, S. Liu, Z. Tan, S. Yan, CVPR 2020 (arXiv:1912.02037) and its public code.
"""

from nastk import hookimpl
from nastk.registry import Component
from nastk_adversarialnas.recipes import RECIPES, SCRIPT_TRAINER

_ARCHITECTURES = {
    "latest_G": "1 1 1 0 3 3 1 / 1 1 0 1 3 3 3 / 0 1 0 3 3 0 3",
    "mmd": "0 1 3 4 6 4 1 / 1 1 4 0 5 5 3 / 0 1 4 5 6 4 4",
}

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the ``adversarialnas`` space and strategy."""
    return [_SPACE, _STRATEGY]


_SPACE = Component(
    kind="space",
    name="adversarialnas",
    factory="nastk_adversarialnas.space:make",
    config="nastk_adversarialnas.config:SpaceConfig",
    summary="latent-to-image generators of three up cells, and discriminators of four down cells",
    defaults={**SCRIPT_TRAINER, "inspect.image": "3x32x32", "inspect.classes": 0},
    presets={
        "official": {"space.generator_width": 160, "space.discriminator_width": 80},
        "corrected": {"space.generator_width": 160, "space.discriminator_width": 80},
    },
    architectures=_ARCHITECTURES,
    recipes=RECIPES,
)

_SEARCH_SCRIPT = {
    "trainer.batch_size": 120,
    "trainer.g_batch_size": 120,
    "trainer.n_critic": 5,
    "strategy.steps": 2002,
}
_STRATEGY = Component(
    kind="strategy",
    name="adversarialnas",
    factory="nastk_adversarialnas.strategy:AdversarialStrategy",
    config="nastk_adversarialnas.config:StrategyConfig",
    summary="differentiable search of any space by the adversarial losses alone",
    presets={
        "official": {
            **_SEARCH_SCRIPT,
            "strategy.logits": "softmax",
            "strategy.tau_first": 1,
            "strategy.derive_over_edges": True,
            "strategy.waste_first_cell": True,
        },
        "corrected": _SEARCH_SCRIPT,
    },
)
