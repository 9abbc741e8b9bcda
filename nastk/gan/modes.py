"""Which parameters get gradients and which modules run in training mode, restored afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn

Trainable = Callable[[str], bool]


def trained(network: nn.Module, trainable: Trainable | None) -> dict[str, nn.Parameter]:
    """Return the parameters to be updated, by name.

    Those that require a gradient now and that ``trainable`` (None: all) selects.
    """
    return {
        name: p
        for name, p in network.named_parameters()
        if p.requires_grad and (trainable is None or trainable(name))
    }


class Modes:
    """Switches a network between training and eval mode, but for its frozen modules.

    A module that owns parameters is frozen when none of them is selected; one that owns only
    buffers (a norm without gain) when none of these is, by name. Frozen modules stay in eval
    mode, so that their running statistics do not move. Modules that own neither (activations,
    dropout) follow the network.

    Attributes:
        parameters: of the network, listed once: a walk through its modules at every step would
            take longer than many of their products.
    """

    def __init__(self, network: nn.Module, trainable: Trainable | None) -> None:
        self.parameters = list(network.parameters())
        self._modules = list(network.modules())
        self._followers = [
            module
            for prefix, module in network.named_modules()
            if trainable is None or _follows(module, prefix, trainable)
        ]

    def training(self, on: bool) -> None:
        """Put every module that is not frozen into training (or eval) mode."""
        for module in self._followers:
            _switch(module, on)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Start with everything in eval mode; restore every module's mode at the end."""
        before = [module.training for module in self._modules]
        for module in self._modules:
            _switch(module, False)
        try:
            yield
        finally:
            for module, mode in zip(self._modules, before, strict=True):
                _switch(module, mode)


def _switch(module: nn.Module, training: bool) -> None:
    # A module's own __setattr__ looks for parameters; this runs several times a step.
    object.__setattr__(module, "training", training)


def _follows(module: nn.Module, prefix: str, trainable: Trainable) -> bool:
    names = [name for name, _ in module.named_parameters(prefix, recurse=False)]
    names = names or [name for name, _ in module.named_buffers(prefix, recurse=False)]
    return not names or any(trainable(name) for name in names)


@contextmanager
def gradients(
    parameters: Iterable[nn.Parameter], on: Callable[[nn.Parameter], bool]
) -> Iterator[None]:
    """Let exactly the parameters that ``on`` selects require gradients; restored at the end."""
    before = [(p, p.requires_grad) for p in parameters]
    for p, _ in before:
        if p.requires_grad != on(p):
            p.requires_grad_(on(p))
    try:
        yield
    finally:
        for p, flag in before:
            if p.requires_grad != flag:
                p.requires_grad_(flag)
