"""Weights from one build of a space to another: supernet ↔ derived network ↔ grown network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from attrs import define, field
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from nastk.nn.choice import Mixed, Network, PerSize
from nastk.nn.layers import FlatLinear, SlicedConv2d


@define
class Transferred:
    """What a transfer did.

    Attributes:
        copied: modules of the target that took weights.
        fresh: modules of the target with weights of their own that the source has not.
        inherited: ids of the target's modules whose weights all come from the source.
        widened: sliced layers that took weights and gained inputs, with the names of those.
    """

    copied: list[str] = field(factory=list)
    fresh: list[str] = field(factory=list)
    inherited: set[int] = field(factory=set)
    widened: list[tuple[SlicedConv2d, tuple[str, ...]]] = field(factory=list)

    def take(self, name: str, module: nn.Module) -> None:
        """Note that ``module`` took all of its weights."""
        self.copied.append(name)
        self.inherited.add(id(module))


def transfer(source: Network, target: Network) -> Transferred:
    """Copy, by value, the weights and buffers that ``source`` has for ``target``.

    Both are builds of one space. Modules are paired by walking both trees; where one side holds
    an open choice and the other its decided option, the walk goes into that option. Sliced
    layers copy their common slices, and kernels of inputs that only the target has become zero.

    Args:
        source: unchanged. On an open choice that the target has decided, the target's option is
            read.
        target: mutated in place.
    """
    report = Transferred()
    _walk(source.body, target.body, "", source, target, report)
    return report


def _walk(
    s: nn.Module | None, t: nn.Module, path: str, source: Network, target: Network, to: Transferred
) -> None:
    for a, b, name in _pairs(s, t, path, source, target):
        if a is None:
            to.fresh.extend(_owners(b, name))
            continue
        _copy(a, b, name, to)
        mine = dict(a.named_children())
        for child, module in b.named_children():
            _walk(mine.get(child), module, f"{name}.{child}".strip("."), source, target, to)


def _pairs(
    s: nn.Module | None, t: nn.Module, path: str, source: Network, target: Network
) -> Iterator[tuple[nn.Module | None, nn.Module, str]]:
    """Yield the modules that belong together once the choices on either side are followed."""
    if isinstance(t, Mixed | PerSize):
        options = target.selection.options[t.decision]
        known = source.selection.options.get(t.decision) or (source.choices.get(t.decision),)
        done: set[int] = set()
        for option in options:
            index = t.index(option)
            if index in done:
                continue
            if option in known:
                done.add(index)
                inner = _option(s, option)
                yield from _pairs(inner, t.options[index], f"{path}[{option}]", source, target)
        for index, module in enumerate(t.options):
            if index not in done:
                yield None, module, f"{path}[#{index}]"
        return
    if isinstance(s, Mixed | PerSize):
        wanted = target.option_of(s.decision)
        inner = _option(s, wanted) if wanted in source.selection.options[s.decision] else None
        yield from _pairs(inner, t, path, source, target)
        return
    yield s, t, path


def _option(s: nn.Module | None, option: str | None) -> nn.Module | None:
    if isinstance(s, Mixed | PerSize):
        assert option is not None
        return s.options[s.index(option)]
    return s


@torch.no_grad()
def _copy(s: nn.Module, t: nn.Module, name: str, to: Transferred) -> None:
    own = {**dict(t.named_parameters(recurse=False)), **dict(t.named_buffers(recurse=False))}
    if isinstance(t, SlicedConv2d) and isinstance(s, SlicedConv2d):
        if t.kernel_size != s.kernel_size:
            to.fresh.append(name)
            return
        t.copy_slices(s)
        gained = tuple(source for source in t.slices if source not in s.slices)
        if gained:
            to.copied.append(name)
            to.widened.append((t, gained))
        else:
            to.take(name, t)
        return
    if isinstance(t, FlatLinear) and isinstance(s, FlatLinear):
        t.copy_slices(s)
        to.take(name, t)
        return
    if not own:
        return
    theirs = {**dict(s.named_parameters(recurse=False)), **dict(s.named_buffers(recurse=False))}
    # Parametrised layers (spectral norm) have a class of their own each.
    if type_before_parametrizations(s) is type_before_parametrizations(t) and all(
        k in theirs and theirs[k].shape == v.shape for k, v in own.items()
    ):
        for key, value in own.items():
            value.copy_(theirs[key])
        to.take(name, t)
    else:
        to.fresh.append(name)


def _owners(module: nn.Module, path: str) -> list[str]:
    return [
        f"{path}.{name}".strip(".")
        for name, m in module.named_modules()
        if next(m.parameters(recurse=False), None) is not None
    ]
