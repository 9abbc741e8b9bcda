"""What a Python program or a notebook does with nastk: ``import nastk`` gives these names."""

from nastk.library.contests import Contest, compare
from nastk.library.runs import Pictures, Run
from nastk.library.searching import open_run, resume, search
from nastk.library.sketch import Sketch, draw

__all__ = [
    "Contest",
    "Pictures",
    "Run",
    "Sketch",
    "compare",
    "draw",
    "open_run",
    "resume",
    "search",
]
