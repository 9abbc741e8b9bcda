"""The nano space: generators of two blocks, small discriminators, every member trainable at once.

Several genotypes may be one network: an edge that is none makes its neighbours meaningless, and
where nothing leads to the image no decision of the generator matters. The canonical form is the
first genotype of each such class, so that equal networks have equal fingerprints.

Source: the idea of a small, wholly trained space with dead edges is that of NAS-Bench-101 and
-201 (C. Ying et al., arXiv:1902.09635; X. Dong and Y. Yang, arXiv:2001.00326). The cells are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import cast

from attrs import asdict, evolve
from torch import Tensor, nn

from nastk.errors import SpaceError
from nastk.nn.choice import Absent
from nastk.nn.layers import View, add
from nastk.objective import Scores
from nastk.records import Architecture, Choices, Decision, InputSpec, Task
from nastk.space import Pick, SearchSpace
from nastk_bench.config import SpaceConfig

BLOCKS = 2
UPS = ("nearest", "bilinear", "deconv")
CONVS = ("conv1", "conv3")
SLOPE = 0.2
"""Of the discriminator's leaky ReLUs."""


class NanoSpace(SearchSpace):
    """Latent-to-image generators of two blocks, each of which doubles the side.

    Block 0 is ``op(u)``, with ``u`` added where there is a bypass; block 1 is ``turn(path(u))``,
    likewise; ``u`` is the upsampled and perhaps normalised input of the block. One convolution
    makes the image of it.

    Args:
        config: widths.
        task: square images whose side is a multiple of 4, at least 8.

    Raises:
        SpaceError: the image does not fit.
    """

    name = "nano"

    def __init__(self, config: SpaceConfig, *, task: Task) -> None:
        _, height, width = task.image
        if height != width or height % 4 or height < 8:
            raise SpaceError(
                f"space 'nano': got images of {height}x{width}, expected a square of side 8, 12, …",
                "set dataset.image_size=8",
            )
        self.config = config
        self.task = task
        self.settings = asdict(config)
        self.input = InputSpec("latent", (config.latent_dim,))
        self.bottom_width = height // 2**BLOCKS
        self.decisions = _decisions(config.generator_width)

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return G of the first ``blocks`` blocks."""
        return _Generator(self, pick, BLOCKS if blocks is None else blocks)

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return D; it bears the smaller images of a prefix too."""
        return _Discriminator(self, pick)

    def prefix_task(self, blocks: int) -> Task:
        """Return the task with the image that the first ``blocks`` blocks make."""
        side = self.bottom_width * 2**blocks
        return evolve(self.task, image=(self.task.image[0], side, side))

    def canonical(self, choices: Choices) -> dict[str, str]:
        """Return the first genotype of the same network, without inactive decisions.

        Options that this space does not leave open are not used, so that a narrowed space keeps
        its members.
        """
        known = super().canonical(choices)
        rewritten = {**choices, **self._rewritten(known)}
        return super().canonical(rewritten)

    def cheapest_completion(self, choices: Choices, blocks: int) -> dict[str, str]:
        """Return the cheapest legal architecture of this prefix that sees the latent vector.

        An undecided block 1 only passes on; an undecided D is shallow.
        """
        rest = {d.name: d.allowed[0] for d in self._of("discriminator")}
        if blocks < BLOCKS:
            rest["block1.bypass"] = self.decision("block1.bypass").allowed[-1]
        return super().cheapest_completion({**rest, **choices}, blocks)

    def _rewritten(self, known: Choices) -> dict[str, str]:
        if known.get("block1.turn") == "none":
            known = {**known, **self._if_open({"block1.path": "none"})}
        if is_cut(known):
            first = {d.name: d.options[0] for d in self.decisions if d.role == "generator"}
            edges = {"block1.path": "none", "block1.bypass": "none"}
            known = {**known, **self._if_open({**first, **edges})}
        return dict(known)

    def _if_open(self, choices: Choices) -> Choices:
        closed = [n for n, option in choices.items() if option not in self.decision(n).allowed]
        return {} if closed else choices

    def genotypes(self) -> Iterator[dict[str, str]]:
        """Yield every assignment of all decisions, in code order; many are equal networks."""
        names = [d.name for d in self.decisions]
        for options in product(*(d.allowed for d in self.decisions)):
            yield dict(zip(names, options, strict=True))

    def members(self) -> list[Architecture]:
        """Return every distinct network once, in code order."""
        found = {a.fingerprint: a for a in map(self.architecture, self.genotypes())}
        return list(found.values())


def is_cut(choices: Choices) -> bool:
    """Return whether nothing leads from the latent vector to the image; False where undecided."""
    path = "none" in (choices.get("block1.path"), choices.get("block1.turn"))
    return path and choices.get("block1.bypass") == "none"


def _decisions(width: int) -> tuple[Decision, ...]:
    """Return the decisions in code order; costs are parameters."""
    point, full = width**2, 9 * width**2
    first = partial(Decision, block=0, cell="block0")
    second = partial(Decision, block=1, cell="block1")
    judge = partial(Decision, role="discriminator", cell="judge")
    return (
        first("norm", ("none", "bn"), kind="norm", costs=(0, 4 * width)),
        first("block0.op", ("skip", *CONVS), costs=(0, point, full)),
        first("block0.bypass", ("none", "skip"), kind="skip", when=({"block0.op": CONVS},)),
        second("block1.up", UPS, kind="up", costs=(0, 0, 4 * width**2)),
        second("block1.path", ("none", "conv3"), costs=(0, full)),
        second(
            "block1.turn",
            ("none", "skip", "conv3"),
            costs=(0, 0, full),
            when=({"block1.path": ("conv3",)},),
        ),
        second("block1.bypass", ("none", "skip"), kind="skip"),
        judge("judge.depth", ("shallow", "deep")),
        judge("judge.pool", ("average", "stride"), kind="pool", when=({"judge.depth": ("deep",)},)),
    )


# -- networks ----------------------------------------------------------------------------------


class _Generator(nn.Module):
    def __init__(self, space: NanoSpace, pick: Pick, blocks: int) -> None:
        super().__init__()
        width, bottom = space.config.generator_width, space.bottom_width
        self.start = (width, bottom * 2**blocks, bottom * 2**blocks)
        decided = {d.name: pick.decided(d.name) or "" for d in space.block(1)}
        self.blocks = nn.ModuleList()
        self.stem: nn.Module = Absent()
        if blocks < BLOCKS or not is_cut(decided):  # a cut network needs neither
            self.stem = nn.Sequential(
                nn.Linear(space.config.latent_dim, bottom * bottom * width),
                View(width, bottom, bottom),
            )
            self.blocks.extend(_Block(pick, i, width) for i in range(blocks))
        self.out = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, space.task.image[0], 3, padding=1), nn.Tanh()
        )

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor | None = self.stem(z)
        for block in self.blocks:
            h = block(h)
        if h is None:
            h = z.new_zeros(len(z), *self.start)
        return cast("Tensor", self.out(h))


class _Block(nn.Module):
    """Upsampling, perhaps a norm, and edges; nothing where all edges are none."""

    def __init__(self, pick: Pick, index: int, width: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2.0) if index == 0 else _upsampling(pick, width)
        self.norm = pick("norm", none=nn.Identity, bn=partial(nn.BatchNorm2d, width))
        self.edges = _first(pick, width) if index == 0 else _Second(pick, width)

    def forward(self, x: Tensor) -> Tensor | None:
        return cast("Tensor | None", self.edges(self.norm(self.up(x))))


def _upsampling(pick: Pick, width: int) -> nn.Module:
    return pick(
        "block1.up",
        nearest=partial(nn.Upsample, scale_factor=2.0),
        bilinear=partial(nn.Upsample, scale_factor=2.0, mode="bilinear"),
        deconv=partial(nn.ConvTranspose2d, width, width, 2, stride=2, bias=False),
    )


def _first(pick: Pick, width: int) -> nn.Module:
    def bypassed(kernel: int) -> nn.Module:
        return _Sum(_Conv(width, kernel), _skip(pick, "block0.bypass"))

    return pick(
        "block0.op",
        skip=nn.Identity,
        conv1=partial(bypassed, 1),
        conv3=partial(bypassed, 3),
    )


class _Second(nn.Module):
    def __init__(self, pick: Pick, width: int) -> None:
        super().__init__()

        def turned() -> nn.Module:
            conv = partial(_Conv, width, 3)
            turn = pick("block1.turn", none=Absent, skip=nn.Identity, conv3=conv)
            return nn.Sequential(conv(), turn)

        self.path = pick("block1.path", none=Absent, conv3=turned)
        self.bypass = _skip(pick, "block1.bypass")

    def forward(self, x: Tensor) -> Tensor | None:
        return add(self.path(x), self.bypass(x))


def _skip(pick: Pick, decision: str) -> nn.Module:
    return pick(decision, none=Absent, skip=nn.Identity)


class _Sum(nn.Module):
    """The sum of what its branches say of one input."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor | None:
        return add(*(branch(x) for branch in self.branches))


class _Conv(nn.Module):
    """ReLU and a convolution without bias, which makes zeros of zeros, as ``none`` would."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.conv(self.relu(x)))


class _Discriminator(nn.Module):
    def __init__(self, space: NanoSpace, pick: Pick) -> None:
        super().__init__()
        width, classes = space.config.discriminator_width, space.task.class_logits
        self.first = nn.Sequential(
            nn.Conv2d(space.task.image[0], width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
        )
        self.second = pick("judge.depth", shallow=_Summed, deep=partial(_deep, pick, 2 * width))
        self.validity = nn.Linear(2 * width, 1)
        self.classes = nn.Linear(2 * width, classes) if classes else None

    def forward(self, x: Tensor) -> Scores:
        features = self.second(self.first(x))
        classes = None if self.classes is None else self.classes(features)
        return Scores(self.validity(features), classes, features)


class _Summed(nn.Module):
    """The sum over height and width, so that depths of unlike sides may be mixed."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=(2, 3))


def _deep(pick: Pick, width: int) -> nn.Module:
    halved = pick(
        "judge.pool",
        average=lambda: nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.AvgPool2d(2)),
        stride=lambda: nn.Conv2d(width, width, 4, stride=2, padding=1),
    )
    return nn.Sequential(halved, nn.LeakyReLU(SLOPE), _Summed())


def make(config: SpaceConfig, *, task: Task) -> NanoSpace:
    """Return the space."""
    return NanoSpace(config, task=task)
