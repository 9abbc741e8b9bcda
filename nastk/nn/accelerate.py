"""Lets the mixtures of a built network be evaluated together: one convolution where five were.

Nothing of the definition changes: modules, parameters, their names and the states stay what they
are, and a network that runs a single path runs as before. What is not recognised runs as the
space wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from torch import nn

from nastk.nn.choice import Network, Selection
from nastk.nn.constants import Constants, kept_in
from nastk.nn.edges import Edge, find_edges
from nastk.nn.measured import Measured
from nastk.nn.mixing import Pass
from nastk.nn.pending import looked_at


@define(eq=False)
class Mixtures:
    """Runs a network whose choices are mixed.

    Attributes:
        selection: the network's.
        edges: its choices that hold something linear.
        form: how convolutions are evaluated.
        constants: see :mod:`nastk.nn.constants`.
        measured: remembers timed forms, with the form ``measure``.
    """

    selection: Selection
    edges: list[Edge]
    form: str
    constants: Constants = field(factory=Constants)
    measured: Measured = field(factory=Measured)

    def run(self, body: nn.Module, inputs: Sequence[Any]) -> Any:
        """Return what ``body`` makes of ``inputs``."""
        device = next(body.parameters()).device
        turn = Pass(self.selection, self.edges, self.form, device, self.measured)
        self.selection.turn = turn
        try:
            with kept_in(self.constants, device):
                output = looked_at(body(*inputs))
        finally:
            self.selection.turn = None
        turn.settle()
        return output


def accelerate(network: Network, form: str = "auto", measured: Measured | None = None) -> None:
    """Let the mixtures of ``network`` be evaluated together from now on; deep copies do likewise.

    To be called when passes have changed the network for the last time.

    Args:
        network: with or without open choices.
        form: ``auto`` by shape and precision, ``measure`` by timing each shape once, ``plain``
            option by option, or ``merged``, ``ring``, ``single`` (one dense kernel) or
            ``frequency``, where a form can do a shape.
        measured: remembers timed forms, for several networks; None: one of the network's own.
    """
    for edge in find_edges(network):
        edge.mixed.edge = None
    network.mixtures = None
    edges = [] if form == "plain" or network.derived else find_edges(network)
    if edges:
        for edge in edges:
            edge.mixed.edge = edge
        network.mixtures = Mixtures(network.selection, edges, form, measured=measured or Measured())
