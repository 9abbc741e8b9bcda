"""What can be done with a finished run or a state of one: opened here, the rest next door."""

from nastk.archtext import space_of
from nastk.finished.checkpoint import Checkpoint, open_checkpoint
from nastk.finished.exported import Exported, load_exported, open_generator
from nastk.finished.opening import Finished, open_finished

__all__ = [
    "Checkpoint",
    "Exported",
    "Finished",
    "load_exported",
    "open_checkpoint",
    "open_finished",
    "open_generator",
    "space_of",
]
