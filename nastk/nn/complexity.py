"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

from typing import Any

import torch
from attrs import frozen
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nastk.nn.forms import plain_forms


@frozen
class Complexity:
    """What a network costs.

    Attributes:
        parameters: trainable parameters.
        macs: multiply-accumulates of convolutions, transposed convolutions and linear layers for
            one sample in eval mode; biases, norms and activations are not counted.
        output_shape: for a batch of one; of the first output where there are several.
    """

    parameters: int
    macs: int
    output_shape: tuple[int, ...]


def parameters(network: nn.Module) -> int:
    """Return the number of parameters, buffers aside; frozen ones (an average's) count too."""
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def count(network: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Return the complexity of one forward pass on one zero input; the mode is restored.

    Works on any device, ``meta`` included, where nothing is computed. Faster forms do not count:
    it is the cost of the network as it is defined.

    Source: the formulas of ``torch.utils.flop_counter``, FLOPs divided by two.
    """
    tensor = next(network.parameters())
    x = torch.zeros(1, *input_shape, device=tensor.device, dtype=tensor.dtype)
    was_training = {m for m in network.modules() if m.training}
    network.eval()
    try:
        with plain_forms(), _Flops() as counter:
            output: Any = network(x)
    finally:
        for module in was_training:
            module.training = True
    first = output if isinstance(output, torch.Tensor) else output[0]
    return Complexity(parameters(network), counter.total // 2, tuple(first.shape))


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up FLOPs; ``FlopCounterMode`` without its books by module, which take most of its time.

    Attributes:
        total: so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and add what it costs."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
