"""Blockwise semi-supervised GAN architecture search (STASGAN) for nastk."""

from nastk import hookimpl
from nastk.registry import Component
from nastk_blockwise.recipes import RECIPES, TRAINING

_ARCHITECTURES = {
    "baseline": "2 / 0 1 / 1 1 0 0 0 / 2 1 1 0 0 / 3 1 3 0 0",
    "keras-gan-ccgan": "2 / 0 1 / 1 1 0 1 0 / 2 1 1 1 0 / 3 1 2 1 0",
}


_CORRECTED = {
    "space.first_slope": 0.2,
    "trainer.fakes_for_d": "train",
    "trainer.mask_placement": "inclusive",
    "objective.reconstruction": 1.0,
}
# The sizes of the full procedure, for 32x32 images; the space's presets decide the quirks.
_FULL = {
    "strategy.warm_steps": 1000,
    "strategy.unit_steps": 2000,
    "strategy.finetune_steps": 500,
    "strategy.beam": 3,
    "strategy.rate_uniform": 48,
    "strategy.rate_mutations": 16,
    "strategy.rate_images": 5000,
    "strategy.recalibrate_batches": 20,
    "final.steps": 20000,
}

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the ``stasgan`` space."""
    return [
        Component(
            kind="space",
            name="stasgan",
            factory="nastk_blockwise.space:make",
            config="nastk_blockwise.config:SpaceConfig",
            summary="U-shaped image-to-image generators of 2 to 4 units, grown unit by unit",
            architectures=_ARCHITECTURES,
            recipes=RECIPES,
            defaults={
                "inspect.image": "1x32x32",
                "inspect.classes": 10,
                "run.objective": "semi-supervised",
                **TRAINING,
            },
            presets={"official": {}, "corrected": _CORRECTED},
        ),
        Component(
            kind="strategy",
            name="blockwise",
            factory="nastk_blockwise.strategy:BlockwiseStrategy",
            config="nastk_blockwise.config:StrategyConfig",
            summary="grow a generator block by block, with a beam and one referee per block",
            presets={"official": _FULL, "corrected": _FULL},
        ),
    ]
