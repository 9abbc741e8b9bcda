"""AutoGAN for nastk: a space of convolutional generators and a controller that searches any space.

Source: X. Gong, S. Chang, Y. Jiang, Z. Wang, ICCV 2019 (arXiv:1908.03835) and its public code.
"""

from nastk import hookimpl
from nastk.registry import Component
from nastk_autogan.recipes import RECIPES, SCRIPT_TRAINER

_ARCHITECTURES = {
    "A": "1 0 1 1 / 1 0 0 1 1 / 1 0 1 0 3",
    "B": "1 0 1 1 / 1 0 1 1 1 / 1 0 1 1 3",
    "C": "1 1 1 1 / 1 0 0 1 1 / 1 0 1 0 3",
}

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the space and the strategy named ``autogan``, and the strategy ``reinforce``."""
    return [_SPACE, _STRATEGY, _REINFORCE]


_SPACE = Component(
    kind="space",
    name="autogan",
    factory="nastk_autogan.space:make",
    config="nastk_autogan.config:SpaceConfig",
    summary="latent-to-image generators of three cells (373,248 of them), grown cell by cell",
    defaults={**SCRIPT_TRAINER, "inspect.image": "3x32x32", "inspect.classes": 0},
    presets={
        "official-script": {"space.generator_width": 128, "space.discriminator_width": 64},
        "official-defaults": {
            "space.generator_width": 64,
            "space.discriminator_width": 64,
            "run.passes": [],
            "trainer.g_batch_size": 64,
            "trainer.n_critic": 1,
            "trainer.init": "normal",
        },
        "corrected": {"space.generator_width": 128, "space.discriminator_width": 64},
        "quick": {
            "space.generator_width": 16,
            "space.discriminator_width": 16,
            "trainer.g_lr": 1e-3,
            "trainer.d_lr": 1e-3,
            "trainer.n_critic": 1,
            "trainer.g_batch_size": 0,
            "trainer.ema_warmup": True,
        },
    },
    architectures=_ARCHITECTURES,
    recipes=RECIPES,
)

_OFFICIAL = {
    "strategy.entropy": "official",
    "strategy.distinct": False,
    "strategy.clear_windows": False,
}
_STRATEGY = Component(
    kind="strategy",
    name="autogan",
    factory="nastk_autogan.strategy:AutoganStrategy",
    config="nastk_autogan.config:StrategyConfig",
    summary="an LSTM controller writes each block; shared weights, REINFORCE, growth with a beam",
    presets={
        "official-script": {"strategy.stage_iterations": [15, 20, 30], **_OFFICIAL},
        "official-defaults": {"strategy.stage_iterations": [25, 30, 35], **_OFFICIAL},
        "corrected": {
            "strategy.baseline": "persistent",
            "strategy.baseline_order": "after",
            "strategy.entropy": "bonus",
            "strategy.controller_beta1": 0.9,
            "strategy.controller_beta2": 0.999,
            "strategy.controller_after_reset": False,
            "strategy.recalibrate_batches": 10,
        },
        "quick": {
            "strategy.stage_iterations": [3, 4, 5],
            "strategy.shared_steps": 80,
            "strategy.controller_steps": 20,
            "strategy.controller_lr": 2.5e-3,
            "strategy.candidates": 8,
            "strategy.beam": 3,
        },
    },
)

_REINFORCE = Component(
    kind="strategy",
    name="reinforce",
    factory="nastk_autogan.whole:ReinforceStrategy",
    config="nastk_autogan.config:ReinforceConfig",
    summary="the same controller writes whole architectures, each trained by itself",
)
