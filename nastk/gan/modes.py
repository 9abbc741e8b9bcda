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
    """

    def __init__(self, network: nn.Module, trainable: Trainable | None) -> None:
        self._network = network
        self._followers = [
            module
            for prefix, module in network.named_modules()
            if trainable is None or _follows(module, prefix, trainable)
        ]

    def training(self, on: bool) -> None:
        """Put every module that is not frozen into training (or eval) mode."""
        for module in self._followers:
            # A module's own __setattr__ looks for parameters; this runs several times a step.
            object.__setattr__(module, "training", on)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Start with everything in eval mode; restore every module's mode at the end."""
        before = {module: module.training for module in self._network.modules()}
        for module in before:
            module.training = False
        try:
            yield
        finally:
            for module, mode in before.items():
                module.training = mode


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
        p.requires_grad_(on(p))
    try:
        yield
    finally:
        for p, flag in before:
            p.requires_grad_(flag)
