"""The stasgan space: U-shaped image-to-image generators that grow unit by unit.

Unit 1 is a down block; unit j >= 2 is a down block and the up block that joins its result to the
features of unit j - 1. Every prefix of units is a complete network.

The option sets and the baseline are those of the public code of M. Zhang et al., Pattern
Recognition, 2021; which combinations are legal is our reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import asdict
from torch import Tensor, nn

from nastk.errors import SpaceError
from nastk.nn.choice import Absent, Size, per_size
from nastk.nn.layers import FlatLinear, Gate, SampleNorm, SlicedConv2d, Upsample
from nastk.objective import Scores
from nastk.records import Choices, Decision, InputSpec, Task
from nastk.space import Pick, SearchSpace
from nastk_blockwise.config import SpaceConfig

MULTIPLES = (1, 2, 4, 8)
KERNELS = ("3", "4", "5")
DROPOUTS = ("0", "0.1", "0.5")
DEPTHS = ("2", "3", "4")
D_LENGTHS = ("3", "4", "5")
D_STRIDE = 8
"""The discriminator's validity map is this many times smaller than the image."""


class StasganSpace(SearchSpace):
    """Generators of 2 to 4 units; a fixed or searched discriminator with validity and class heads.

    Args:
        config: widths and variants.
        task: image-to-image at ``task.image``; the side must be divisible by 2 to the depth.

    Raises:
        SpaceError: the image is too small, not square, or of an unfit side.
    """

    name = "stasgan"

    def __init__(self, config: SpaceConfig, *, task: Task) -> None:
        self.config = config
        self.task = task
        self.settings = asdict(config)
        self.input = InputSpec("image", task.image)
        self._depths = _legal_depths(task, config.max_depth)
        self.decisions = tuple(self._generator_decisions())
        if config.discriminator == "searched":
            self.decisions += tuple(_discriminator_decisions(config))

    # -- generator -----------------------------------------------------------------------------

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return the U-shaped generator, maps masked images to images."""
        return _Generator(self, pick, blocks)

    def width(self, pick: Pick, block: str) -> Size:
        """Return the filters of ``down2``, ``up1`` and so on."""
        return pick.size(f"{block}.filters", self._filters())

    def deeper_than(self, pick: Pick, unit: int, blocks: int | None) -> nn.Module:
        """Return what lies inside unit ``unit``: the next unit, nothing, or the choice of both."""
        deeper = partial(_Inner, self, pick, unit + 1, blocks)
        if blocks is not None:
            return deeper() if unit < blocks else Absent()
        if unit < min(self._depths):
            return deeper()
        if unit == max(self._depths):
            return Absent()
        beyond = tuple(d for d in DEPTHS if int(d) > unit)
        here = tuple(d for d in DEPTHS if int(d) <= unit)
        return pick("depth", {here: Absent, beyond: deeper})

    def complete(self, choices: Choices, blocks: int) -> dict[str, str] | None:
        """Return the architecture of exactly ``blocks`` units, None for a single unit."""
        depth = str(blocks)
        if depth not in DEPTHS or depth not in self.decision("depth").allowed:
            return None
        return {**self.prefix(choices, blocks), "depth": depth, **_roles(self, choices)}

    def reference(self) -> dict[str, str]:
        """Return the published baseline, cut to the depth that the image allows."""
        widths = [str(m * self.config.generator_width) for m in MULTIPLES]
        depth = max(self._depths)
        choices = {"depth": str(depth), "down1.filters": widths[0], "down1.kernel": "4"}
        for unit in range(2, depth + 1):
            up = f"up{unit - 1}"
            choices |= {f"down{unit}.filters": widths[unit - 1], f"down{unit}.kernel": "4"}
            choices |= {f"{up}.filters": widths[(0, 1, 3)[unit - 2]], f"{up}.kernel": "3"}
            choices[f"{up}.dropout"] = "0"
        return choices

    def cheapest_completion(self, choices: Choices, blocks: int) -> dict[str, str]:
        """Return the prefix itself, or a single unit completed by the narrowest second one."""
        least = int(min(self.decision("depth").allowed))
        return super().cheapest_completion({**choices, "depth": str(max(blocks, least))}, -1)

    def _filters(self) -> dict[str, int]:
        widths = (m * self.config.generator_width for m in MULTIPLES)
        return {str(w): w for w in widths}

    def _generator_decisions(self) -> list[Decision]:
        units = max(self._depths)
        decisions = [
            Decision(
                "depth",
                DEPTHS,
                block=units - 1,
                cell="depth",
                kind="depth",
                costs=tuple(map(int, DEPTHS)),
                allowed=tuple(str(d) for d in self._depths),
            )
        ]
        for unit in range(1, units + 1):
            exists = () if unit <= 2 else ({"depth": tuple(d for d in DEPTHS if int(d) >= unit)},)
            blocks = [f"down{unit}"] + ([f"up{unit - 1}"] if unit > 1 else [])
            for block in blocks:
                decisions.extend(self._block_decisions(block, unit, exists))
        return decisions

    def _block_decisions(
        self, block: str, unit: int, exists: tuple[Mapping[str, tuple[str, ...]], ...]
    ) -> list[Decision]:
        make = partial(Decision, block=unit - 1, cell=f"unit{unit}", when=exists)
        filters = self._filters()
        result = [
            make(f"{block}.filters", tuple(filters), kind="width", costs=tuple(filters.values())),
            make(f"{block}.kernel", KERNELS, kind="kernel", costs=(9, 16, 25)),
        ]
        if block.startswith("up"):
            result.append(make(f"{block}.dropout", DROPOUTS, kind="dropout", costs=(0, 1, 1)))
        return result

    # -- discriminator -------------------------------------------------------------------------

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return D, maps images to a validity map and, with labels, K + 1 class logits."""
        return _Discriminator(self, pick)

    @property
    def class_logits(self) -> int:
        """Class outputs of D: as the task wants, else K + 1 where there are classes."""
        return self.task.class_logits or (self.task.classes + 1 if self.task.classes else 0)

    def problems(self, choices: Choices) -> list[str]:
        """Return a line when the strides of a searched discriminator do not multiply to 8."""
        if "dis.length" not in choices:
            return []
        length = int(choices["dis.length"])
        product = 1
        for i in range(1, length + 1):
            product *= int(choices[f"dis{i}.stride"])
        if product == D_STRIDE:
            return []
        return [f"discriminator strides multiply to {product}, expected {D_STRIDE}"]

    def repair(self, choices: Choices) -> dict[str, str]:
        """Return choices whose discriminator has stride 2 in its first three layers only."""
        fixed = dict(choices)
        if self.problems(choices):
            for i in range(1, int(choices["dis.length"]) + 1):
                fixed[f"dis{i}.stride"] = "2" if i <= 3 else "1"
        return fixed


def _roles(space: StasganSpace, choices: Choices) -> dict[str, str]:
    return {n: o for n, o in choices.items() if space.decision(n).role == "discriminator"}


def _legal_depths(task: Task, deepest: int) -> tuple[int, ...]:
    _, height, width = task.image
    depths = tuple(
        int(d)
        for d in DEPTHS
        if int(d) <= deepest and height % 2 ** int(d) == 0 and height >> int(d) >= 2
    )
    if height != width or height % D_STRIDE or not depths:
        raise SpaceError(
            f"space 'stasgan': got images of {height}x{width}, expected a square whose side is a "
            "multiple of 8",
            "set dataset.image_size=16 or 32",
        )
    return depths


class _Down(nn.Module):
    """conv k stride 2 → leaky ReLU 0.2 → batch norm (not in unit 1)."""

    def __init__(self, space: StasganSpace, pick: Pick, unit: int, source: Size | int) -> None:
        super().__init__()
        self.out = space.width(pick, f"down{unit}")

        def branch(kernel: int) -> nn.Module:
            norm = Gate(self.out) if unit == 1 else per_size(self.out, _batch_norm)
            conv = SlicedConv2d(source, self.out, kernel, stride=2)
            return nn.Sequential(conv, nn.LeakyReLU(0.2), norm)

        self.conv = pick(f"down{unit}.kernel", {k: partial(branch, int(k)) for k in KERNELS})

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class _Up(nn.Module):
    """nearest x2 → conv k → ReLU → dropout → batch norm, on a deeper up block and a skip."""

    def __init__(
        self, space: StasganSpace, pick: Pick, index: int, sources: Mapping[str, Size]
    ) -> None:
        super().__init__()
        self.out = space.width(pick, f"up{index}")
        self.upsample = Upsample("nearest")
        name = f"up{index}"

        def dropout(rate: str) -> nn.Module:
            return nn.Identity() if rate == "0" else nn.Dropout(float(rate))

        def branch(kernel: int) -> nn.Module:
            return _Joined(
                SlicedConv2d(sources, self.out, kernel),
                nn.ReLU(),
                pick(f"{name}.dropout", {r: partial(dropout, r) for r in DROPOUTS}),
                per_size(self.out, _batch_norm),
            )

        self.conv = pick(f"{name}.kernel", {k: partial(branch, int(k)) for k in KERNELS})

    def forward(self, deeper: Tensor | None, skip: Tensor) -> Tensor:
        inner = None if deeper is None else self.upsample(deeper)
        result: Tensor = self.conv(inner, self.upsample(skip))
        return result


class _Joined(nn.Sequential):
    """A sliced convolution on several inputs, any but the last of them None, and what follows."""

    def forward(self, *inputs: Tensor | None) -> Tensor:
        first, *rest = self
        assert isinstance(first, SlicedConv2d)
        x: Tensor = first(*inputs[-len(first.slices) :])
        for layer in rest:
            x = layer(x)
        return x


class _Inner(nn.Module):
    """Unit j >= 2: down block, whatever lies deeper, and the up block back to unit j - 1."""

    def __init__(self, space: StasganSpace, pick: Pick, unit: int, blocks: int | None) -> None:
        super().__init__()
        self.down = _Down(space, pick, unit, space.width(pick, f"down{unit - 1}"))
        self.inner = space.deeper_than(pick, unit, blocks)
        self.up = _Up(space, pick, unit - 1, _sources(space, pick, unit, self.inner))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        result: Tensor = self.up(self.inner(skip), skip)
        return result


def _sources(space: StasganSpace, pick: Pick, unit: int, inner: nn.Module) -> dict[str, Size]:
    """Return what a layer at level ``unit`` reads: the next up block, if any, and the skip."""
    skip = space.width(pick, f"down{unit}")
    if isinstance(inner, Absent):
        return {"skip": skip}
    return {"up": space.width(pick, f"up{unit}"), "skip": skip}


class _Generator(nn.Module):
    def __init__(self, space: StasganSpace, pick: Pick, blocks: int | None) -> None:
        super().__init__()
        channels = space.task.image[0]
        self.down = _Down(space, pick, 1, channels)
        self.inner = space.deeper_than(pick, 1, blocks)
        self.upsample = Upsample("nearest")
        self.out = _Joined(
            SlicedConv2d(_sources(space, pick, 1, self.inner), channels, 4), nn.Tanh()
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        deeper = self.inner(skip)
        inner = None if deeper is None else self.upsample(deeper)
        image: Tensor = self.out(inner, self.upsample(skip))
        return image


def _batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.2)


# -- discriminator networks --------------------------------------------------------------------


def _discriminator_decisions(config: SpaceConfig) -> list[Decision]:
    make = partial(Decision, role="discriminator")
    decisions = [make("dis.length", D_LENGTHS, cell="dis", kind="depth")]
    widths = [str(m * config.generator_width) for m in MULTIPLES]
    for i in range(1, int(D_LENGTHS[-1]) + 1):
        exists = () if i <= 3 else ({"dis.length": tuple(n for n in D_LENGTHS if int(n) >= i)},)
        layer = partial(make, cell=f"dis{i}", when=exists)
        decisions += [
            layer(f"dis{i}.filters", widths, kind="width"),
            layer(f"dis{i}.kernel", KERNELS, kind="kernel"),
            layer(f"dis{i}.stride", ("1", "2"), kind="stride"),
            layer(f"dis{i}.dropout", DROPOUTS, kind="dropout"),
        ]
    return decisions


class _Discriminator(nn.Module):
    def __init__(self, space: StasganSpace, pick: Pick) -> None:
        super().__init__()
        if space.config.discriminator == "searched":
            layers, width = _searched_layers(space, pick)
        else:
            layers, width = _fixed_layers(space)
        self.layers = nn.Sequential(*layers)
        self.validity = SlicedConv2d(width, 1, 4)
        positions = (space.task.image[1] // D_STRIDE) ** 2
        logits = space.class_logits
        self.classes = FlatLinear(positions, width, logits) if logits else None

    def forward(self, x: Tensor) -> Scores:
        features = self.layers(x)
        classes = None if self.classes is None else self.classes(features)
        return Scores(self.validity(features), classes, features.flatten(1))


def _norm(space: StasganSpace, channels: int) -> nn.Module:
    if space.config.norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return SampleNorm()


def _slope(space: StasganSpace, index: int) -> nn.Module:
    return nn.LeakyReLU(space.config.first_slope if index == 1 else 0.2)


def _fixed_layers(space: StasganSpace) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    source = space.task.image[0]
    for i in range(1, 4):
        width = space.config.discriminator_width * 2 ** (i - 1)
        layers += [SlicedConv2d(source, width, 4, stride=2), _slope(space, i)]
        if i > 1:
            layers.append(_norm(space, width))
        source = width
    return layers, source


def _searched_layers(space: StasganSpace, pick: Pick) -> tuple[list[nn.Module], int]:
    length = pick.decided("dis.length")
    if length is None:
        raise SpaceError(
            "space 'stasgan': a searched discriminator is built from a complete architecture",
            "its strides must multiply to 8, so that it has no supernet",
        )
    layers: list[nn.Module] = []
    source = space.task.image[0]
    for i in range(1, int(length) + 1):
        width = pick.size(f"dis{i}.filters", space._filters()).active
        layers += [_searched_conv(pick, i, source, width), _slope(space, i)]
        if i > 1:
            layers.append(_norm(space, width))
        layers.append(_dropout(pick, i))
        source = width
    return layers, source


def _searched_conv(pick: Pick, i: int, source: int, width: int) -> nn.Module:
    def strided(kernel: int) -> nn.Module:
        return pick(
            f"dis{i}.stride",
            {s: partial(SlicedConv2d, source, width, kernel, stride=int(s)) for s in ("1", "2")},
        )

    return pick(f"dis{i}.kernel", {k: partial(strided, int(k)) for k in KERNELS})


def _dropout(pick: Pick, i: int) -> nn.Module:
    options: dict[str | tuple[str, ...], Any] = {
        r: nn.Identity if r == "0" else partial(nn.Dropout, float(r)) for r in DROPOUTS
    }
    return pick(f"dis{i}.dropout", options)


def make(config: SpaceConfig, *, task: Task) -> StasganSpace:
    """Return the space."""
    return StasganSpace(config, task=task)
