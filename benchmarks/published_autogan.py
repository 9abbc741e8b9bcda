"""AutoGAN's shared training, rewards and sampling as the published system computes them.

The order of operations is that of the public code (X. Gong et al. 2019): networks in NCHW order
evaluated layer by layer; an architecture drawn, one by one, for every real batch; the generator's
graph built in D's steps too and then cut off; D's weight gradients computed in G's step too and
dropped; Adam tensor by tensor; latents of a reward drawn anew, and its images made with a graph.
Its published form cannot be differentiated by current torch (additions in place on what ReLU
keeps), so additions are out of place here; values are the same.

Weights live in networks that nastk built, so that both ways can start from the same ones; nothing
but their parameters and single layers is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.choice import Network

Choices = Mapping[str, str]
UPSAMPLED = ("bilinear", "nearest")


class Generator:
    """The shared generator on one path, layer by layer.

    Args:
        network: of the autogan space with all choices open; its weights are used in place.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._body: Any = network.body

    def __call__(self, z: Tensor, choices: Choices) -> Tensor:
        body = self._body
        linear, view = body.stem
        h = view(linear(z))
        skips: list[Tensor] = []
        for index, cell in enumerate(body.cells):
            skip, h = self._cell(index, cell, h, skips, choices)
            skips.append(skip)
        norm, _, conv, _ = body.out
        return torch.tanh(F.conv2d(F.relu(norm(h)), conv.weight, conv.bias, padding=1))

    def _cell(
        self, index: int, cell: Any, x: Tensor, skips: list[Tensor], choices: Choices
    ) -> tuple[Tensor, Tensor]:
        name = f"cell{index}"
        chosen = {key: choices.get(f"{name}.{key}", "0") for key in KEYS}
        h = self._block(cell.first, x, chosen, upsample=True)
        for source, (mixed, skip) in enumerate(zip(cell.skips, skips, strict=True)):
            if int(chosen["skips"]) >> (index - 1 - source) & 1:
                h = h + self._adapted(_of(mixed, chosen["skips"]), skip, chosen, index - source)
        y = self._block(cell.second, h, chosen, upsample=False)
        if chosen["shortcut"] == "yes":
            y = y + self._adapted(_of(cell.shortcut, "yes"), x, chosen, 1)
        return h, y

    def _block(self, mixed: Any, x: Tensor, chosen: Choices, *, upsample: bool) -> Tensor:
        layers = list(_of(mixed, chosen["style"]))
        up = next((m for m in layers if getattr(m, "decision", "").endswith(".up")), None)
        norm = next(m for m in layers if getattr(m, "decision", "").endswith(".norm"))
        conv = next(m for m in layers if isinstance(m, nn.Conv2d))
        if chosen["style"] == "pre":
            x = F.relu(self._norm(norm, x, chosen))
            x = self._up(up, x, chosen, 1) if upsample else x
            return _conv(conv, x)
        x = self._up(up, x, chosen, 1) if upsample else x
        return F.relu(self._norm(norm, _conv(conv, x), chosen))

    def _adapted(self, layers: Any, x: Tensor, chosen: Choices, doublings: int) -> Tensor:
        up, conv = layers
        return _conv(conv, self._up(up, x, chosen, doublings))

    def _norm(self, mixed: Any, x: Tensor, chosen: Choices) -> Tensor:
        if chosen["norm"] == "in":
            return F.instance_norm(x)
        result: Tensor = x if chosen["norm"] == "none" else _of(mixed, "bn")(x)
        return result

    def _up(self, mixed: Any, x: Tensor, chosen: Choices, doublings: int) -> Tensor:
        if chosen["up"] in UPSAMPLED:
            return F.interpolate(x, scale_factor=float(2**doublings), mode=chosen["up"])
        for spread in _of(mixed, "deconv"):
            x = F.conv_transpose2d(x, spread.weight, spread.bias, 2)
        return x


KEYS = ("style", "norm", "up", "shortcut", "skips")


class Discriminator:
    """The discriminator of the last stage, layer by layer.

    Args:
        network: nastk's, spectrally normalised or not.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._body: Any = network.body

    def __call__(self, x: Tensor) -> Tensor:
        body = self._body
        first = body.first
        h = F.avg_pool2d(_conv(first.second, F.relu(_conv(first.first, x))), 2)
        h = h + _conv(first.shortcut, F.avg_pool2d(x, 2))
        if not isinstance(body.down, nn.Identity):
            r = _conv(body.down.second, F.relu(_conv(body.down.first, F.relu(h))))
            h = F.avg_pool2d(r, 2) + F.avg_pool2d(_conv(body.down.shortcut, h), 2)
        for block in (body.plain, body.last):
            if not isinstance(block, nn.Identity):
                h = _conv(block.second, F.relu(_conv(block.first, F.relu(h)))) + h
        return F.linear(F.relu(h).sum(dim=(2, 3)), body.head.validity.weight)


class SharedTraining:
    """Shared training: turns of D, and a step of G on the last one's architecture.

    Args:
        generator: trained in place.
        discriminator: likewise.
        sample: returns the architecture of the next real batch.
        real: returns the next real batch.
        latents: returns so many latents.
        g_batch: images of G's step.
        lr: of both Adams, with betas (0, 0.9).
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        sample: Callable[[], Choices],
        real: Callable[[], Tensor],
        latents: Callable[[int], Tensor],
        g_batch: int,
        lr: float = 2e-4,
    ) -> None:
        self._g, self._d = generator, discriminator
        self._sample, self._real, self._latents = sample, real, latents
        self._g_batch = g_batch
        adam = {"lr": lr, "betas": (0.0, 0.9), "foreach": False, "fused": False}
        self._g_adam = torch.optim.Adam(generator.network.parameters(), **adam)
        self._d_adam = torch.optim.Adam(discriminator.network.parameters(), **adam)
        generator.network.train()
        discriminator.network.train()

    def step(self, turns: int = 5) -> tuple[list[float], float]:
        """Do ``turns`` steps of D and one of G; return the losses."""
        d_losses = []
        for _ in range(turns):
            choices, real = self._sample(), self._real()
            z = self._latents(len(real))
            self._d_adam.zero_grad()
            truth = self._d(real)
            fake = self._d(self._g(z, choices).detach())
            loss = F.relu(1.0 - truth).mean() + F.relu(1.0 + fake).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            self._d_adam.step()
            d_losses.append(loss.item())
        self._g_adam.zero_grad()
        g_loss = -self._d(self._g(self._latents(self._g_batch), choices)).mean()
        g_loss.backward()
        self._g_adam.step()
        return d_losses, g_loss.item()


def reward_images(
    generator: Generator, choices: Choices, images: int, batch: int, latent: int
) -> list[Any]:
    """Return the images of one reward, as the published system makes them."""
    generator.network.eval()
    made: list[Any] = []
    for _ in range(images // batch):
        z = torch.from_numpy(np.random.normal(0, 1, (batch, latent))).float()  # noqa: NPY002
        shown = generator(z, choices).mul_(127.5).add_(127.5).clamp_(0.0, 255.0)
        made.extend(shown.permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy())
    return made


def sample_one(
    controller: Any, tokens: Sequence[int], hidden: tuple[Tensor, Tensor]
) -> tuple[list[int], tuple[Tensor, Tensor]]:
    """Return one architecture's actions and the controller's last state.

    Args:
        controller: with the parts of nastk's (``cell``, ``embedding``, ``decoders``).
        tokens: options of each decision.
        hidden: where the LSTM starts.
    """
    x = torch.zeros(1, hidden[0].shape[1])
    actions, entropies, chosen = [], [], []
    for i, decoder in enumerate(controller.decoders):
        hidden = controller.cell(x, hidden)
        logits = decoder(hidden[0])
        chances = F.softmax(logits, dim=-1)
        logs = F.log_softmax(logits, dim=-1)
        entropies.append(-(logs * chances).sum(1, keepdim=True))
        action = chances.multinomial(1)
        chosen.append(logs.gather(1, action))
        x = controller.embedding(action.view(-1) + sum(tokens[:i]))
        actions.append(int(action))
    torch.cat(chosen, -1), torch.cat(entropies)
    return actions, hidden


def _of(mixed: Any, option: str) -> Any:
    """Return the module of an option."""
    return mixed.options[mixed.index(option)]


def _conv(conv: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
