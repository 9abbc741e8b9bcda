"""What can be done with a finished run: opened here, measured, sampled and exported next door."""

from nastk.archtext import space_of
from nastk.finished.opening import Finished, open_finished

__all__ = ["Finished", "open_finished", "space_of"]
