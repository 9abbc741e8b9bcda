"""The published trainings of architecture A as recipes; torch-free.

Source: section on training of X. Gong et al. 2019 (arXiv:1908.03835) and the scripts
``autogan_cifar10_a.sh`` and ``autogan_cifar10_a2stl10.sh`` of its public code.
"""

from nastk.recipes import GUESSED, Figure, Recipe, counted

SCRIPT_TRAINER = {
    "run.objective": "hinge",
    "run.passes": ["spectral-norm"],
    "trainer.g_lr": 2e-4,
    "trainer.d_lr": 2e-4,
    "trainer.beta1": 0.0,
    "trainer.beta2": 0.9,
    "trainer.eps": 1e-8,
    "trainer.batch_size": 64,
    "trainer.g_batch_size": 128,
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
"""What the published scripts train with."""

_TRAINING = {
    **SCRIPT_TRAINER,
    "space.generator_width": 256,
    "space.discriminator_width": 128,
    "space.latent_dim": 128,
    "dataset.validation": 0.02,
    "evaluator.extractor": "inception-v3",
    "evaluator.isc_splits": 10,
    "final.steps": 50_000,
    "final.samples": 50_000,
    "final.split": "train",
}
_NOTES = (
    "2 % of the training images are kept for validation, the published code trains on all",
    "the last state is measured, the published code keeps the checkpoint with the lowest FID",
    "the extractor is torch-fidelity's port of the published one",
)
_PROTOCOL = {
    "extractor": "inception-v3",
    "split": "train",
    "n_fake": 50_000,
    "weights_kind": "ema",
}
_SOURCE = "AutoGAN, ICCV 2019 (arXiv:1908.03835), public code VITA-Group/AutoGAN"
_SCORE_PROTOCOL = {k: v for k, v in _PROTOCOL.items() if k != "split"}
"""Of an inception score, which no real images take part in."""

RECIPES = {
    "autogan-cifar10": Recipe(
        summary="architecture A on CIFAR-10: IS 8.55, FID 12.42 published",
        source=_SOURCE,
        architecture="A",
        values={**_TRAINING, "run.dataset": "cifar10", "space.bottom_width": 4},
        figures=(
            Figure(
                "inception_score",
                8.55,
                low=8.3,
                high=8.7,
                spread=0.10,
                protocol=_SCORE_PROTOCOL,
                band=GUESSED,
            ),
            Figure(
                "fid",
                12.42,
                low=11.9,
                high=14.5,
                protocol={**_PROTOCOL, "n_real": 49_000},
                band="from the published value to what users of the public code report (13 to 14)",
            ),
            counted("parameters", 4_405_251),
        ),
        notes=_NOTES,
    ),
    "autogan-stl10": Recipe(
        summary="architecture A on STL-10 at 48x48: IS 9.16, FID 31.01 published",
        source=_SOURCE,
        architecture="A",
        values={
            **_TRAINING,
            "run.dataset": "stl10",
            "dataset.image_size": 48,
            "dataset.unlabelled": True,
            "space.bottom_width": 6,
        },
        figures=(
            Figure(
                "inception_score",
                9.16,
                low=8.8,
                high=9.4,
                spread=0.12,
                protocol=_SCORE_PROTOCOL,
                band=GUESSED,
            ),
            Figure(
                "fid",
                31.01,
                low=28.0,
                high=35.0,
                protocol={**_PROTOCOL, "n_real": 102_000},
                band=GUESSED,
            ),
            counted("parameters", 5_065_731),
        ),
        notes=_NOTES,
    ),
}
