"""The published AdversarialNAS iteration, operation by operation: the reference of benchmark (a).

Every edge runs each of its operations by itself, ReLU included, and adds the weighted results;
every spectral norm iterates by itself; G's graph is kept in D's updates and thrown away at the
detach; gradients of both networks and of all choice weights are computed in every update; Adam
and the average go tensor by tensor. Only the draws (batches, latents, Gumbel noise) come from
outside, so that both ways see the same numbers.

Source: what the public code of C. Gao et al., CVPR 2020 (arXiv:1912.02037) computes. Same as in
nastk's space: edges of the first down cell have five operations and five weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORMALS = ("none", "skip", (1, 1), (3, 1), (5, 1), (3, 2), (5, 2))
DOWNS = ("avg", "max", (3, 1), (5, 1), (3, 2), (5, 2))
UPS = ("nearest", "bilinear", "transposed")
Draw = Callable[[str], Any]


class NormedConv(nn.Module):
    """A convolution with its own power iteration before every training pass."""

    def __init__(self, conv: nn.Conv2d, left: Tensor, right: Tensor) -> None:
        super().__init__()
        self.conv, self.left, self.right = conv, left.clone(), right.clone()

    def weight(self) -> Tensor:
        """Return the normalised weight; moves the vectors."""
        matrix = self.conv.weight.flatten(1)
        with torch.no_grad():
            self.left = F.normalize(torch.mv(matrix, self.right), dim=0, eps=1e-12)
            self.right = F.normalize(torch.mv(matrix.t(), self.left), dim=0, eps=1e-12)
        return self.conv.weight / torch.dot(self.left, torch.mv(matrix, self.right))

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        return F.conv2d(x, self.weight(), conv.bias, conv.stride, conv.padding, conv.dilation)


class Operation(nn.Module):
    """One operation of an edge, with the ReLU in front of it."""

    def __init__(self, kind: Any, layers: list[nn.Module], relu: bool = True) -> None:
        super().__init__()
        self.kind, self.relu = kind, relu
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x.mul(0.0)
        if self.kind == "skip":
            return x
        if self.kind == "avg":
            return F.avg_pool2d(x, 2)
        if self.kind == "max":
            return F.max_pool2d(x, 2)
        if self.kind in ("nearest", "bilinear"):
            x = F.interpolate(x, scale_factor=2.0, mode=self.kind)
        x = F.relu(x) if self.relu else x
        for layer in self.layers:
            x = layer(x)
        return x


class MixedOperation(nn.Module):
    """The weighted sum of all operations of an edge."""

    def __init__(self, operations: list[Operation]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        total: Any = sum(w * op(x) for w, op in zip(weights, self.operations, strict=True))
        return total  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Three up cells; ``edges`` by name, as nastk's decisions are called."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        body: Any = theirs
        self.part = body.part
        self.stems, self.out = body.stems, body.out
        self.skips = nn.ModuleList(cell.skips for cell in body.cells)
        self.edges = nn.ModuleDict({
            f"cell{i}_{name}": _edge(getattr(cell, name), NORMALS if name[0] == "c" else UPS)
            for i, cell in enumerate(body.cells)
            for name in ("u0", "u1", "c0", "c1", "c2", "c3", "c4")
        })  # fmt: skip

    def forward(self, z: Tensor, mixture: Mapping[str, Tensor]) -> Tensor:
        parts, h, skips = torch.split(z, self.part, 1), None, []
        for i, modules in enumerate(self.skips):
            run = self._runner(i, mixture)
            stem = self.stems[i](parts[i])
            h = stem if h is None else h + stem
            n0, n1 = run("u0", h), run("u1", h)
            n2 = run("c0", n0) + run("c1", n1)
            for point, skip in zip(modules, skips, strict=True):
                mode = ("nearest", "bilinear", "nearest")[i]
                n2 = n2 + point(F.interpolate(skip, size=n0.shape[2:], mode=mode))
            h = run("c2", n0) + run("c3", n1) + run("c4", n2)
            skips.append(n2)
        image: Tensor = self.out(h)
        return image

    def _runner(self, i: int, mixture: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
        return lambda name, x: self.edges[f"cell{i}_{name}"](x, mixture[f"cell{i}.{name}"])


class Discriminator(nn.Module):
    """Four down cells and the summed head."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        body: Any = theirs
        self.count = len(body.cells)
        head = body.head.validity
        norm = head.parametrizations.weight[0]
        self.head = NormedLinear(head.parametrizations.weight.original, norm._u, norm._v)
        self.edges = nn.ModuleDict({
            f"dcell{i}_{name}": _edge(getattr(cell, name), _down_options(i, name))
            for i, cell in enumerate(body.cells)
            for name in ("e0", "e1", "e2", "e3", "e4", "d0", "d1")
        })  # fmt: skip

    def forward(self, x: Tensor, mixture: Mapping[str, Tensor]) -> Tensor:
        for i in range(self.count):
            run = self._runner(i, mixture)
            n1 = run("e0", x)
            n2 = run("e1", x) + run("e3", n1)
            n3 = run("e2", x) + run("e4", n1)
            x = run("d0", n2) + run("d1", n3)
        score: Tensor = self.head(F.relu(x).sum((2, 3)))
        return score

    def _runner(self, i: int, mixture: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
        return lambda name, x: self.edges[f"dcell{i}_{name}"](x, mixture[f"dcell{i}.{name}"])


class NormedLinear(nn.Module):
    """The head, with its own power iteration."""

    def __init__(self, weight: Tensor, left: Tensor, right: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.left, self.right = left.clone(), right.clone()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.left = F.normalize(torch.mv(self.weight, self.right), dim=0, eps=1e-12)
            self.right = F.normalize(torch.mv(self.weight.t(), self.left), dim=0, eps=1e-12)
        return F.linear(x, self.weight / torch.dot(self.left, torch.mv(self.weight, self.right)))


def _down_options(cell: int, name: str) -> tuple[Any, ...]:
    if name[0] == "d":
        return DOWNS
    return NORMALS[2:] if cell == 0 and name in ("e0", "e1", "e2") else NORMALS


def _edge(mixed: Any, kinds: tuple[Any, ...]) -> MixedOperation:
    """Return the operations of a choice of nastk's space, in code order, weights copied."""
    named = {group[0]: module for group, module in zip(mixed.groups, mixed.options, strict=True)}
    order = mixed._selection.options[mixed.decision]
    made = []
    for option, kind in zip(order, kinds, strict=True):
        modules = list(named[option].modules())
        layers = [m for m in modules if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        relu = any(isinstance(m, nn.ReLU) for m in modules)
        made.append(Operation(kind, [_plain(layer) for layer in layers], relu))
    return MixedOperation(made)


def _plain(layer: Any) -> nn.Module:
    """Return a copy of a layer in plain order in memory, with a spectral norm of its own."""
    raw = layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else None
    weight = layer.weight.detach() if raw is None else raw.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        copy: Any = nn.ConvTranspose2d(
            layer.in_channels, layer.out_channels, 3, 2, 1, 1, layer.in_channels, bias=False
        )
    else:
        copy = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
            layer.padding, layer.dilation, bias=layer.bias is not None,
        )  # fmt: skip
    copy = copy.to(weight.dtype)
    with torch.no_grad():
        copy.weight.copy_(weight)
        if copy.bias is not None:
            copy.bias.copy_(layer.bias)
    if raw is None:
        return copy  # type: ignore[no-any-return]
    norm = layer.parametrizations.weight[0]
    return NormedConv(copy, norm._u, norm._v)


class Iteration:
    """The published search loop, one iteration a call.

    Args:
        generator: nastk's built supernet; copied.
        discriminator: likewise, with the spectral-norm pass applied.
        logits: role → decision → start of the choice weights.
        config: of nastk's trainer (learning rates, Adam, decay of the average).
        draw: what is drawn next: ``images``, ``z``, ``noise.generator``, ``noise.discriminator``.
        tau: temperature; noise is added to the logits, as nastk's default does.
    """

    def __init__(
        self, generator: Any, discriminator: Any, logits: Mapping[str, Mapping[str, Tensor]],
        config: Any, draw: Draw, tau: float, bf16: bool = False,
    ) -> None:  # fmt: skip
        import copy

        self.g = Generator(copy.deepcopy(generator.body))
        self.d = Discriminator(copy.deepcopy(discriminator.body))
        self.logits = {
            role: {name: nn.Parameter(value.detach().clone()) for name, value in named.items()}
            for role, named in logits.items()
        }
        self.draw, self.tau, self.bf16 = draw, tau, bf16
        self.config = config
        betas = (config.beta1, config.beta2)
        self.g_adam = _adam(self.g.parameters(), config.g_lr, betas)
        self.d_adam = _adam(self.d.parameters(), config.d_lr, betas)
        self.choice_adam = {
            role: _adam(named.values(), 3e-4, (0.5, 0.999), 1e-4)
            for role, named in self.logits.items()
        }
        self.average = [p.detach().clone() for p in self.g.parameters()]
        self.losses: list[tuple[float, float]] = []

    def __call__(self) -> None:
        images, z = self.draw("images"), self.draw("z")
        half = len(images) // 2
        self._update(self.choice_adam["discriminator"], self._d_loss(images[half:], z[half:]))
        d_loss = self._d_loss(images[:half], z[:half])
        self._update(self.d_adam, d_loss)
        self._update(self.choice_adam["generator"], self._g_loss(self.draw("z")))
        g_loss = self._g_loss(self.draw("z"))
        self._update(self.g_adam, g_loss)
        for mean, p in zip(self.average, self.g.parameters(), strict=True):
            mean.mul_(self.config.ema_decay).add_(p.detach(), alpha=1 - self.config.ema_decay)
        self.losses.append((d_loss.item(), g_loss.item()))

    def _d_loss(self, images: Tensor, z: Tensor) -> Tensor:
        fakes = self._generate(z).detach()
        real, fake = self._score(images), self._score(fakes)
        return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()

    def _g_loss(self, z: Tensor) -> Tensor:
        return -self._score(self._generate(z)).mean()

    def _generate(self, z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.g(z, self._mixture("generator")).to(z.dtype)  # type: ignore[no-any-return]

    def _score(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.d(x, self._mixture("discriminator"))  # type: ignore[no-any-return]

    def _mixture(self, role: str) -> dict[str, Tensor]:
        noise = self.draw(f"noise.{role}")
        return {
            name: torch.softmax((logits + noise[name]) / self.tau, 0)
            for name, logits in self.logits[role].items()
        }

    @staticmethod
    def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _adam(
    parameters: Any, rate: float, betas: tuple[float, float], decay: float = 0.0
) -> torch.optim.Adam:
    return torch.optim.Adam(
        list(parameters), rate, betas, weight_decay=decay, foreach=False, fused=False
    )
