"""What can be done with a finished run: opened here, measured, sampled and exported next door."""

from nastk.archtext import space_of
from nastk.finished.exported import Exported, load_exported, open_generator
from nastk.finished.opening import Finished, open_finished

__all__ = [
    "Exported",
    "Finished",
    "load_exported",
    "open_finished",
    "open_generator",
    "space_of",
]
