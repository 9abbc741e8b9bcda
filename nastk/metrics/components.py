"""The evaluators of the root distribution; imports no torch."""

from __future__ import annotations

from nastk.registry import Component

COMPONENTS: list[Component] = [
    Component(
        kind="evaluator",
        name="standard",
        factory="nastk.metrics.evaluator:standard",
        config="nastk.metrics.config:EvaluatorConfig",
        summary="distances of generated to real images under a named extractor, in-painting, "
        "accuracy, size",
    ),
    Component(
        kind="evaluator",
        name="class-head",
        factory="nastk.metrics.class_head:ClassHeadEvaluator",
        summary="accuracy of the discriminator's class head on real images, its size",
    ),
]
