"""What this room registers; imports no torch."""

from __future__ import annotations

from nastk.registry import Component

COMPONENTS: list[Component] = [
    Component(
        kind="trainer",
        name="gan",
        factory="nastk.gan.trainer:GanTrainer",
        config="nastk.gan.config:TrainerConfig",
        summary="adversarial training of one pair on latent or masked-image inputs",
    ),
    Component(
        kind="objective",
        name="hinge",
        factory="nastk.gan.objectives:Hinge",
        summary="hinge loss",
    ),
    Component(
        kind="objective",
        name="least-squares",
        factory="nastk.gan.objectives:LeastSquares",
        config="nastk.gan.config:LeastSquaresConfig",
        summary="squared distance from target values",
    ),
    Component(
        kind="objective",
        name="non-saturating",
        factory="nastk.gan.objectives:NonSaturating",
        summary="logistic loss in its non-saturating form",
    ),
    Component(
        kind="objective",
        name="wasserstein-gp",
        factory="nastk.gan.objectives:WassersteinGP",
        config="nastk.gan.config:WassersteinConfig",
        summary="Wasserstein distance with a gradient penalty",
    ),
    Component(
        kind="objective",
        name="supervised",
        factory="nastk.gan.objectives:Supervised",
        summary="class loss on labelled real images only, the classification baseline",
    ),
    Component(
        kind="objective",
        name="semi-supervised",
        factory="nastk.gan.objectives:SemiSupervised",
        config="nastk.gan.config:SemiSupervisedConfig",
        summary="least squares on validity, cross-entropy over K classes and 'generated'",
    ),
    Component(
        kind="objective",
        name="real-only",
        factory="nastk.gan.objectives:RealOnly",
        config="nastk.gan.config:SemiSupervisedConfig",
        summary="semi-supervised without generated images, the other classification baseline",
    ),
]
