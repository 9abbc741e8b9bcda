"""The published trainings of the published genotype as recipes; torch-free.

Source: C. Gao et al. 2020 (arXiv:1912.02037) and the scripts ``train_arch_cifar10.sh`` and
``train_arch_stl10.sh`` of its public code.
"""

from nastk.recipes import GUESSED, Figure, Recipe, counted

SCRIPT_TRAINER = {
    "run.objective": "hinge",
    "run.passes": ["spectral-norm"],
    "trainer.g_lr": 2e-4,
    "trainer.d_lr": 2e-4,
    "trainer.beta1": 0.0,
    "trainer.beta2": 0.9,
    "trainer.batch_size": 40,
    "trainer.g_batch_size": 80,
    "trainer.n_critic": 5,
    "trainer.d_update": "joint",
    "trainer.fakes_for_d": "train",
    "trainer.ema_decay": 0.999,
    "trainer.ema_warmup": False,
    "trainer.init": "xavier-conv",
    "trainer.sampling": "epoch",
    "trainer.flips": False,
    "trainer.lr_decay": "none",
}
"""What the published scripts train with, on CIFAR-10."""

_TRAINING = {
    **SCRIPT_TRAINER,
    "trainer.eps": 1e-8,
    "space.discriminator": "fixed",
    "space.discriminator_width": 128,
    "space.latent_dim": 120,
    "dataset.validation": 0.02,
    "evaluator.extractor": "inception-v3",
    "evaluator.isc_splits": 10,
    "final.samples": 50_000,
    "final.split": "train",
}
_NOTES = (
    "2 % of the training images are kept for validation, the published code trains on all",
    "the last state is measured, the published code keeps the checkpoint with the lowest FID",
    "the extractor is torch-fidelity's port of the published one",
    "D sees whole batches of real images, as in the first release; later code halves them",
)
_PROTOCOL = {
    "extractor": "inception-v3",
    "split": "train",
    "n_fake": 50_000,
    "weights_kind": "ema",
}
_SOURCE = "AdversarialNAS, CVPR 2020 (arXiv:1912.02037), public code chengaopro/AdversarialNAS"
_SCORE_PROTOCOL = {k: v for k, v in _PROTOCOL.items() if k != "split"}
"""Of an inception score, which no real images take part in."""

RECIPES = {
    "adversarialnas-cifar10": Recipe(
        summary="the published genotype on CIFAR-10: IS 8.74, FID 10.87 published",
        source=_SOURCE,
        architecture="latest_G",
        values={
            **_TRAINING,
            "run.dataset": "cifar10",
            "space.generator_width": 256,
            "space.bottom_width": 4,
            "final.steps": 150_000,
        },
        figures=(
            Figure(
                "inception_score",
                8.74,
                low=8.5,
                high=8.9,
                spread=0.07,
                protocol=_SCORE_PROTOCOL,
                band=GUESSED,
            ),
            Figure(
                "fid",
                10.87,
                low=10.0,
                high=12.9,
                protocol={**_PROTOCOL, "n_real": 49_000},
                band=GUESSED,
            ),
            counted("parameters", 8_846_851),
        ),
        notes=_NOTES,
    ),
    "adversarialnas-stl10": Recipe(
        summary="the published genotype on STL-10 at 48x48: IS 9.63, FID 26.98 published",
        source=_SOURCE,
        architecture="latest_G",
        values={
            **_TRAINING,
            "run.dataset": "stl10",
            "dataset.image_size": 48,
            "dataset.unlabelled": True,
            "space.generator_width": 270,
            "space.bottom_width": 6,
            "trainer.batch_size": 128,
            "trainer.g_batch_size": 256,
            "final.steps": 98_520,
        },
        figures=(
            Figure(
                "inception_score",
                9.63,
                low=9.2,
                high=9.9,
                spread=0.19,
                protocol=_SCORE_PROTOCOL,
                band=GUESSED,
            ),
            Figure(
                "fid",
                26.98,
                low=24.5,
                high=31.0,
                protocol={**_PROTOCOL, "n_real": 102_000},
                band=GUESSED,
            ),
            counted("parameters", 8_881_923),
        ),
        notes=_NOTES,
    ),
}
