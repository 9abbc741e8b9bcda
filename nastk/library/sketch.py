"""The networks of an architecture drawn, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.library.given import Asked
from nastk.randomness import Randomness
from nastk.records import Architecture, Task

if TYPE_CHECKING:
    from nastk.library.given import SpaceLike


@frozen(eq=False)
class Sketch:
    """Both networks of one architecture, drawn; shows itself in a notebook.

    Attributes:
        architecture: that is drawn.
        codes: its integer codes.
        told: layers and connections, as :func:`nastk.nn.drawing.drawing` returns them.
    """

    architecture: Architecture
    codes: str
    told: Mapping[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        from nastk.report.cells import drawing_cell

        return drawing_cell(self.codes, self.told)


def draw(
    space: SpaceLike,
    choices: Mapping[str, str] | str = "",
    *,
    image: tuple[int, int, int] = (1, 16, 16),
    classes: int = 0,
    seed: int = 0,
    **words: Any,
) -> Sketch:
    """Return a drawing of one architecture of a space; nothing is trained or computed.

    Args:
        space: a name, or a space of your own.
        choices: decision → option, integer codes, or empty for one drawn at random.
        image: (channels, height, width) of the images that the networks are built for.
        classes: of the data.
        seed: of the random draw.
        **words: settings of the space as ``space__key=value``.

    Raises:
        UserError: no such space or setting, or no architecture of it.
    """
    from nastk.nn.drawing import drawing

    asked = Asked()
    asked.take(space=space)
    asked.set(None, words)
    config = asked.config()
    component = asked.registry.get("space", config.run.space).component
    task = Task(image=image, classes=classes)
    built = component.load_factory()(config.component("space"), task=task)
    if isinstance(choices, Mapping):
        architecture = built.architecture(choices)
    elif choices:
        architecture = built.parse(choices)
    else:
        architecture = built.sample(Randomness(seed).numpy("draw"))
    return Sketch(architecture, built.encode(architecture), drawing(built, architecture.choices))
