"""Whether networks run in faster exact forms, or as they are defined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import torch

    from nastk.nn.frequency import Plane

Form = Literal["merged", "ring", "single", "frequency"]
"""How a mixture of convolutions is evaluated: :mod:`nastk.nn.merged`, :mod:`nastk.nn.frequency`."""

CONVOLUTION = {False: 0.8, True: 0.5}
"""What a product costs in the transforms, where one in a convolution costs 1, by whether both are
in half precision; on a CPU without matrix units."""

MANY = 2e7
"""Products of a convolution in the frequency domain from which on half precision saves time: each
of its many small matrices costs more to set out with."""

_PLAIN: ContextVar[bool] = ContextVar("plain forms", default=False)


@contextmanager
def plain_forms() -> Iterator[None]:
    """Evaluate every network as it is defined: what counts costs, and what others are held to."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def plain() -> bool:
    """Return whether :func:`plain_forms` is in force."""
    return _PLAIN.get()


def matrix_units() -> bool:
    """Return whether this CPU multiplies bf16 matrices in units of their own (AMX)."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())


def together(kind: str) -> bool:
    """Return whether all edges out of a source should be one convolution on a kind of device.

    Launches are what costs on CUDA; on a CPU it is the memory that wider results hold.
    """
    return kind != "cpu"


def choose(
    wanted: str,
    plane: Plane,
    batch: int,
    channels: tuple[int, int],
    taps: int,
    kind: str,
    dtypes: tuple[torch.dtype, torch.dtype],
    edges: int,
) -> Form:
    """Return the form for one group of convolutions; a rule of these arguments alone.

    Args:
        wanted: a form, or ``auto`` for the one with fewer products.
        plane: sizes and taps.
        batch: images.
        channels: into and out of each convolution.
        taps: that the combined kernel has.
        kind: type of device.
        dtypes: of the parameters, and of products where autocast shortens them.
        edges: convolutions into the node.
    """
    stored, short = dtypes
    half = short.itemsize < 4
    if wanted == "auto":
        spent = CONVOLUTION[half] * products(plane, batch, channels, edges)
        few = spent < direct(plane, batch, channels, taps)
        fits = kind == "cpu" and stored.itemsize >= 4 and not (half and matrix_units())
        return "frequency" if fits and few else "merged"
    form = cast("Form", wanted)
    return form if form in possible(plane, stored, half=half) else "merged"


def possible(plane: Plane, stored: torch.dtype, *, half: bool) -> list[Form]:
    """Return the forms that can do a group of convolutions.

    Args:
        plane: sizes and taps.
        stored: type of the parameters.
        half: whether products are in half precision.
    """
    found: list[Form] = ["merged", "single"]
    # oneDNN crashed on the ring's kernels in bf16 on 4 x 4.
    if not half and min(plane.size) > 4:
        found.append("ring")
    if stored.itemsize >= 4:
        found.append("frequency")
    return found


def spectral(
    plane: Plane,
    batch: int,
    channels: tuple[int, int],
    dtypes: tuple[torch.dtype, torch.dtype],
) -> torch.dtype:
    """Return which of ``dtypes`` spectra are computed in; arguments as for :func:`choose`.

    All nodes that a source goes to share its spectrum, however many edges each has.
    """
    stored, short = dtypes
    many = products(plane, batch, channels, 2) >= MANY
    return short if many and short.itemsize < stored.itemsize else stored


def direct(plane: Plane, batch: int, channels: tuple[int, int], taps: int) -> float:
    """Return the products of a convolution."""
    return float(taps * plane.out[0] * plane.out[1] * batch * channels[0] * channels[1])


def products(plane: Plane, batch: int, channels: tuple[int, int], edges: int) -> float:
    """Return the products of the same in the frequency domain, with its share of transforms.

    A source's transform is taken to serve two convolutions, the node's all of its edges.
    """
    half, whole = plane.frequencies
    height, width = plane.size
    rows, columns = len(plane.rows), len(plane.columns)
    to = 2 * half * width * height + 4 * half * whole * height
    back = 4 * half * plane.out[0] * whole + 2 * half * plane.out[0] * plane.out[1]
    kernel = 2 * half * columns * rows + 4 * half * whole * rows
    mixing = 4 * half * whole * batch
    source, out = channels
    return float((kernel + mixing) * source * out + batch * (to / 2 * source + back / edges * out))
