"""Images that are to be enlarged, for as long as nobody looks at single pixels.

Enlarging copies (or blends) pixels, and most of what follows can be done on the small image:

* a 1x1 convolution commutes with every interpolation;
* ReLU and concatenation commute with nearest interpolation;
* nearest interpolation by f and then a k x k convolution are one transposed convolution with
  stride f and a kernel of side k + f - 1: ((k + f - 1) / f)² products per pixel instead of k².

All of this is exact. Whatever else is done to such an image computes it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nastk.nn.thin import THIN, Padding, scattered

Waiting = TypeVar("Waiting")


class Enlarged(Tensor):
    """``(N, C, f * H, f * W)`` that is known by the ``(N, C, H, W)`` that it is made of.

    Attributes:
        source: the small image ``(N, C, H, W)``.
        factor: f, >= 2.
        interpolation: mode of ``torch.nn.functional.interpolate``.
    """

    source: Tensor
    factor: int
    interpolation: str
    _whole: Tensor | None

    @staticmethod
    def of(source: Tensor, factor: int, mode: str) -> Enlarged:
        """Return ``source`` ``(N, C, H, W)`` as if it were enlarged."""
        made = torch.Tensor._make_subclass(Enlarged, source.detach())
        made.source, made.factor, made.interpolation = source, factor, mode
        made._whole = None
        return made

    def whole(self) -> Tensor:
        """Return the enlarged image ``(N, C, f * H, f * W)``, computed once."""
        if self._whole is None:
            self._whole = F.interpolate(
                self.source, scale_factor=float(self.factor), mode=self.interpolation
            )
        return self._whole

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Do ``func`` on the small image where that is the same, else on the whole one."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            shortcut = None if "input" in kwargs else _SHORTCUTS.get(func)
            found = None if shortcut is None else shortcut(*args, **kwargs)
            if found is None:
                found = func(*_computed(args), **{k: _computed(v) for k, v in kwargs.items()})
            return found


def convolve_enlarged(
    x: Enlarged, weight: Tensor, bias: Tensor | None, padding: Padding
) -> Tensor | None:
    """Return the convolution (stride 1) of an enlarged image, None where no short way is known.

    Args:
        x: image.
        weight: ``(out, C, k, k)``.
        bias: ``(out,)`` or None.
        padding: zeros around the enlarged image.
    """
    if weight.shape[1] != x.source.shape[1] or weight.shape[2] != weight.shape[3]:
        return None
    if weight.shape[2] == 1 and not any(padding):
        return Enlarged.of(F.conv2d(x.source, weight, bias), x.factor, x.interpolation)
    if x.interpolation != "nearest" or max(padding) > weight.shape[2] - 1:
        return None
    return _transposed(x, weight, bias, padding)


def _transposed(x: Enlarged, weight: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
    """Return nearest interpolation and convolution as one transposed convolution, cut to size."""
    k, f = weight.shape[2], x.factor
    top, bottom, left, right = padding
    height, width = x.source.shape[2] * f, x.source.shape[3] * f
    kernel = _spread(weight.flip(2, 3), f)
    # The full result has k - 1 rows and columns at each side that no padding asks for.
    rows, columns = k - 1 - top, k - 1 - left
    wanted = height + top + bottom - k + 1, width + left + right - k + 1
    if len(weight) <= THIN:
        full = scattered(x.source, kernel, f)
        if bias is not None:
            full = full + bias.to(full.dtype)[:, None, None]
    else:
        spare = max(0, min(rows, k - 1 - bottom)), max(0, min(columns, k - 1 - right))
        full = F.conv_transpose2d(x.source, kernel.transpose(0, 1), bias, f, spare)
        rows, columns = rows - spare[0], columns - spare[1]
    if (rows, columns) == (0, 0) and full.shape[2:] == wanted:
        return full
    return full[:, :, rows : rows + wanted[0], columns : columns + wanted[1]]


def _spread(kernel: Tensor, factor: int) -> Tensor:
    """Return the kernel added up at all offsets 0..factor - 1 of both axes."""
    for axis in (2, 3):
        pads = [(i, factor - 1 - i) for i in range(factor)]
        moved = [F.pad(kernel, p if axis == 3 else (0, 0, *p)) for p in pads]
        kernel = torch.stack(moved).sum(0)
    return kernel


# -- what can be done on the small image -------------------------------------------------------


def replaced(value: Any, kind: type[Waiting], compute: Callable[[Waiting], Tensor]) -> Any:
    """Return ``value`` with ``compute`` done to every ``kind`` in it, in tuples and lists too.

    Args:
        value: what a function is given or returns; records (named tuples) keep their type.
        kind: stands for a tensor that is not computed yet.
        compute: returns the tensor, of any shape.
    """
    if isinstance(value, kind):
        return compute(value)
    if isinstance(value, tuple | list):
        found = [replaced(v, kind, compute) for v in value]
        return type(value)(*found) if hasattr(value, "_fields") else type(value)(found)
    return value


def _computed(value: Any) -> Any:
    return replaced(value, Enlarged, Enlarged.whole)


def _conv2d(
    image: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if not isinstance(image, Enlarged) or isinstance(padding, str) or groups != 1:
        return None
    if _pair(stride) != (1, 1) or _pair(dilation) != (1, 1):
        return None
    rows, columns = _pair(padding)
    return convolve_enlarged(image, weight, bias, (rows, rows, columns, columns))


def _relu(image: Enlarged, inplace: bool = False) -> Tensor | None:
    if image.interpolation != "nearest" or inplace:
        return None
    return Enlarged.of(F.relu(image.source), image.factor, image.interpolation)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if dim != 1 or not isinstance(first, Enlarged):
        return None
    alike = [t for t in tensors if isinstance(t, Enlarged)]
    forms = {(t.factor, t.interpolation, t.source.shape[2:]) for t in alike}
    if len(alike) < len(tensors) or len(forms) > 1:
        return None
    return Enlarged.of(torch.cat([t.source for t in alike], 1), first.factor, first.interpolation)


def _shape(x: Enlarged) -> torch.Size:
    n, channels, height, width = x.source.shape
    return torch.Size((n, channels, height * x.factor, width * x.factor))


def _size(x: Enlarged, dim: int | None = None) -> Any:
    return _shape(x) if dim is None else _shape(x)[dim]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


_SHORTCUTS: dict[Any, Callable[..., Any]] = {
    Tensor.shape.__get__: _shape,  # type: ignore[attr-defined]
    Tensor.size: _size,
    F.conv2d: _conv2d,
    F.relu: _relu,
    torch.relu: _relu,
    torch.cat: _cat,
}
