"""Blockwise semi-supervised GAN architecture search (STASGAN) for nastk."""

from nastk import hookimpl
from nastk.registry import Component

_ARCHITECTURES = {
    "baseline": "2 / 0 1 / 1 1 0 0 0 / 2 1 1 0 0 / 3 1 3 0 0",
    "keras-gan-ccgan": "2 / 0 1 / 1 1 0 1 0 / 2 1 1 1 0 / 3 1 2 1 0",
}


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
            defaults={"inspect.image": "1x32x32", "inspect.classes": 10},
            architectures=_ARCHITECTURES,
        )
    ]
