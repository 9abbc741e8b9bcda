"""The published training of the baseline, and the README's search on digits; torch-free.

Source: M. Zhang et al. 2021, public code AICV-CUMT/STASGAN, which holds the baseline only.
"""

from nastk.recipes import Figure, Recipe, counted

TRAINING = {
    "trainer.g_lr": 2e-4,
    "trainer.d_lr": 2e-4,
    "trainer.beta1": 0.5,
    "trainer.beta2": 0.999,
    "trainer.eps": 1e-7,
    "trainer.batch_size": 32,
    "trainer.d_update": "separate",
    "trainer.fakes_for_d": "eval",
    "trainer.sampling": "replacement",
    "trainer.init": "glorot",
    "trainer.mask_placement": "exclusive",
}
"""What the published script trains with; its quirks are the presets' to decide."""

_DIGITS = {"extractor": "small-cnn-digits", "split": "test", "n_real": 400, "weights_kind": "ema"}
_SEEDS = "where one more seed falls 95 times in 100, from the three of the README"

RECIPES = {
    "stasgan": Recipe(
        summary="the published baseline on MNIST at 32x32; no quality figure is published",
        source="STASGAN, Pattern Recognition 2021, public code AICV-CUMT/STASGAN",
        architecture="baseline",
        values={
            **TRAINING,
            "run.dataset": "mnist",
            "run.objective": "semi-supervised",
            "dataset.image_size": 32,
            "space.generator_width": 32,
            "space.discriminator_width": 64,
            "space.discriminator": "fixed",
            "space.first_slope": 0.8,
            "space.norm": "sample",
            "objective.validity_weight": 0.5,
            "objective.class_weight": 0.5,
            "objective.reconstruction": 0.0,
            "trainer.n_critic": 1,
            "trainer.mask_size": 10,
            "trainer.flips": False,
            "trainer.lr_decay": "none",
            "trainer.ema_decay": 0.999,
            "evaluator.mask_size": 10,
            "final.steps": 20_000,
            "final.samples": 10_000,
        },
        figures=(
            counted("parameters", 1_539_969),
            counted("macs", 40_501_248),
        ),
        notes=(
            "a tenth of the training images is kept for validation, the published code trains on "
            "all",
            "an average of G's weights is kept, which the published code has not",
        ),
    ),
    "digits": Recipe(
        summary="nastk's own search of the README on digits; nobody else published it",
        source="nastk's README, blockwise with all labels; python -m benchmarks.first_search",
        strategy="blockwise",
        values={
            **TRAINING,
            "run.dataset": "digits",
            "run.objective": "semi-supervised",
            "space.generator_width": 16,
            "space.discriminator_width": 32,
            "strategy.warm_steps": 300,
            "strategy.unit_steps": 500,
            "strategy.finetune_steps": 200,
            "final.steps": 2000,
        },
        figures=(
            Figure(
                "rating", 0.692, low=0.652, high=0.732, spread=0.008, protocol=_DIGITS, band=_SEEDS
            ),
            Figure(
                "accuracy",
                0.979,
                low=0.904,
                high=1.0,
                spread=0.015,
                protocol={"split": "test", "n_real": 400},
                band=_SEEDS,
            ),
            Figure(
                "extractor_fd", 23.1, low=4.7, high=41.5, spread=3.7, protocol=_DIGITS, band=_SEEDS
            ),
            Figure("parameters", 25_910, low=20_765, high=31_055, spread=1_035, band=_SEEDS),
        ),
    ),
}
