"""What a drawing of a network needs: its layers, what flows between them, and at which size.

The derived network is built on the ``meta`` device and run once, so that nothing is computed and
nothing is drawn at random. Layers come from the modules, joins from the functions between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nastk.nn.boxes import Layer, Mark, boxes_of
from nastk.nn.choice import Network, build_derived
from nastk.nn.forms import plain_forms
from nastk.nn.layers import Upsample, View
from nastk.records import Choices, InputSpec, Role
from nastk.space import Pick, SearchSpace

ROLES: tuple[Role, ...] = ("generator", "discriminator")

_THROUGH = {
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "movedim", "squeeze",
    "unsqueeze", "expand", "contiguous", "to", "float", "double", "clone", "detach", "split",
    "chunk", "__getitem__",
}  # fmt: skip
_WORDS = {
    "add": "sum", "__add__": "sum", "__radd__": "sum", "__iadd__": "sum", "add_": "sum",
    "mul": "product", "__mul__": "product", "__rmul__": "product", "cat": "join", "concat": "join",
    "sub": "difference", "__sub__": "difference", "div": "quotient", "__truediv__": "quotient",
    "sum": "sum over positions", "mean": "mean over positions",
}  # fmt: skip
_SILENT = (nn.Flatten, nn.Unflatten, View)
_KINDS = {
    nn.Conv2d: "conv", nn.ConvTranspose2d: "transposed conv", nn.Linear: "linear",
    nn.BatchNorm2d: "batch norm", nn.InstanceNorm2d: "instance norm", nn.AvgPool2d: "average pool",
    nn.MaxPool2d: "max pool",
}  # fmt: skip


def drawing(space: SearchSpace, choices: Choices) -> dict[str, Any]:
    """Return layers and connections of both derived networks as JSON data.

    Args:
        space: with the task that it is built for.
        choices: of a complete architecture; the discriminator's may be another's.

    Returns:
        Per role ``input`` and ``output`` (shapes of one sample), ``boxes`` and ``edges``. A box has
        ``group`` (the module that it stands in), ``marks`` (decision and option), ``ops`` (what
        is done, in order), ``output`` (shape) and ``parameters``; an edge is the index of the box
        that gives and of the one that takes, -1 for the network's input.

    Raises:
        SpaceError: a choice that a network needs is not made.
    """
    inputs = (space.input, InputSpec("image", space.task.image))
    return {role: _outline(space, role, choices, spec.shape)
            for role, spec in zip(ROLES, inputs, strict=True)}  # fmt: skip


def _outline(
    space: SearchSpace, role: Role, choices: Choices, shape: tuple[int, ...]
) -> dict[str, Any]:
    watched = _Watched(space)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build_derived(watched, role, choices)  # type: ignore[arg-type]
    trace = _Trace(network, watched.marks)
    x = torch.zeros(1, *shape, device="meta")
    trace.source(x)
    with torch.no_grad(), plain_forms(), trace:
        output: Any = network.eval()(x)
    first = next(_tensors(output))
    boxes, edges = boxes_of(trace.layers, {trace.giver(t) for t in _tensors(output)})
    return {"input": list(shape), "output": list(first.shape[1:]), "boxes": boxes, "edges": edges}


class _Watched:
    """A space that notes which module was picked for which decision."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.marks: list[tuple[nn.Module, Mark]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._space, name)

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        return self._space.generator(_NotingPick(pick, self.marks), blocks)

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        return self._space.discriminator(_NotingPick(pick, self.marks), blocks)


class _NotingPick:
    """A pick that also notes what was picked."""

    def __init__(self, pick: Any, marks: list[tuple[nn.Module, Mark]]) -> None:
        self._pick = pick
        self._marks = marks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pick, name)

    def __call__(
        self, decision: str, options: Any = None, /, **named: Callable[[], nn.Module]
    ) -> nn.Module:
        module: nn.Module = self._pick(decision, options, **named)
        self._marks.append((module, (decision, str(self._pick.decided(decision)))))
        return module


class _Trace(TorchFunctionMode):
    """Notes the layers and functions of one forward pass, and which tensors connect them.

    Attributes:
        layers: in the order in which they ran.
    """

    def __init__(self, network: Network, marks: Iterable[tuple[nn.Module, Mark]]) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self._givers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no identity is used twice
        self._stack: list[str] = []
        self._leaf = 0
        self._body = network.body
        self._names = {id(m): name for name, m in network.body.named_modules()}
        self._marks: dict[str, list[Mark]] = {}
        for module, mark in marks:
            self._marks.setdefault(self._names.get(id(module), "?"), []).append(mark)
        for module in network.body.modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    def source(self, tensor: Tensor) -> None:
        """Make ``tensor`` the network's input."""
        self._note(tensor, -1)

    def giver(self, tensor: Tensor) -> int | None:
        """Return the index of the layer that made ``tensor``, -1 for the input, else None."""
        return self._givers.get(id(tensor))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func``; note it where it is no part of a layer."""
        result = func(*args, **(kwargs or {}))
        made = list(_tensors(result))
        if self._leaf or not made:
            return result
        name = getattr(func, "__name__", "")
        sources = self._sources((args, kwargs or {}))
        if not sources or name.startswith(("zeros", "ones", "new_", "empty", "__get__")):
            return result
        if name in _THROUGH:
            self._pass(made, sources)
        else:
            word = _WORDS.get(name, name.strip("_").replace("_", " "))
            self._add(word, made, sources, 0)
        return result

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._stack.append(self._names[id(module)])
        self._leaf += _is_leaf(module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if _is_leaf(module):
            self._leaf -= 1
            made, sources = list(_tensors(output)), self._sources(args)
            if isinstance(module, nn.Identity) or all(id(t) in self._givers for t in made):
                self._pass(made, sources)
            elif made and not self._leaf:
                size = sum(p.numel() for p in module.parameters())
                joins = "join, " if len(sources) > 1 else ""
                self._add(joins + _describe(module), made, sources, size)
        self._stack.pop()

    def _pass(self, made: Iterable[Tensor], sources: list[int]) -> None:
        for tensor in made:
            if sources and id(tensor) not in self._givers:
                self._note(tensor, sources[0])

    def _add(self, what: str, made: list[Tensor], sources: list[int], parameters: int) -> None:
        path = self._stack[-1] if self._stack else ""
        shape = tuple(made[0].shape[1:])
        marks = [mark for prefix in _prefixes(path) for mark in self._marks.get(prefix, ())]
        layer = Layer(what, self._group(path), tuple(marks), tuple(sources), shape, parameters)
        self.layers.append(layer)
        for tensor in made:
            self._note(tensor, len(self.layers) - 1)

    def _note(self, tensor: Tensor, giver: int) -> None:
        self._givers[id(tensor)] = giver
        self._alive.append(tensor)

    def _sources(self, values: Any) -> list[int]:
        found = [self._givers[id(t)] for t in _tensors(values) if id(t) in self._givers]
        return list(dict.fromkeys(found))

    def _group(self, path: str) -> str:
        """Return the part of the network that a module stands in: a cell, a stack, or none."""
        parts = path.split(".")
        top = self._body.get_submodule(parts[0])
        if isinstance(top, nn.ModuleList) and len(parts) > 1:
            inner = top[int(parts[1])]
            return ".".join(parts[:2]) if not _is_leaf(inner) else parts[0]
        return "" if _is_leaf(top) or not path else parts[0]


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists, dicts and records, parameters aside."""
    if isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter):
            yield value
        return
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__attrs_attrs__"):
        value = [getattr(value, a.name) for a in value.__attrs_attrs__]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _describe(module: nn.Module) -> str:
    """Return what a layer does in a few words; empty for one that only reshapes."""
    if isinstance(module, _SILENT):
        return ""
    word = next((w for kind, w in _KINDS.items() if isinstance(module, kind)), None)
    if word is None:
        word = _spaced(type(module).__name__)
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return word + _kernel(module)
    if isinstance(module, (Upsample, nn.Upsample)):
        return f"upsample {module.mode}"
    if isinstance(module, (nn.Dropout, nn.Dropout2d)):
        return f"{word} {module.p:g}"
    return word


def _spaced(name: str) -> str:
    """Return a class's name as words: ``LeakyReLU`` → ``leaky ReLU``."""
    words = re.findall(r"[A-Z][a-z]*LU|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+d?", name)
    return " ".join(w if w[1:] != w[1:].lower() else w.lower() for w in words)


def _kernel(module: nn.Conv2d | nn.ConvTranspose2d) -> str:
    rows, columns = module.kernel_size
    text = f" {rows}×{columns}"
    if max(module.stride) > 1:
        text += f", stride {max(module.stride)}"
    if max(module.dilation) > 1:
        text += f", dilation {max(module.dilation)}"
    if module.groups > 1:
        text += (
            ", depthwise" if module.groups == module.in_channels else f", groups {module.groups}"
        )
    return text
