"""Networks that are too large to build, refused before memory is taken for them.

Settings may come from a stranger's file. What they ask for is first laid out on the ``meta``
device, where it takes neither memory nor arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration

from nastk.errors import ConfigError, NastkError, SpaceError
from nastk.nn.choice import Network, build
from nastk.nn.complexity import count
from nastk.records import Role
from nastk.space import SearchSpace

MAX_PARAMETERS, MAX_MACS = 2 * 10**9, 10**13
"""Of one network (a supernet counts all of its options); MACs are of one image."""
MAX_MODULES = 200_000
VARIABLES = {"parameters": "NASTK_MAX_PARAMETERS", "MACs": "NASTK_MAX_MACS"}
"""What is counted → the environment variable that allows more."""
ROLES: tuple[Role, Role] = ("generator", "discriminator")

_known: set[tuple[str, int, int]] = set()
"""Spaces found affordable, by identity and task, and the limits then: each is laid out once."""


def affordable(space: SearchSpace) -> None:
    """Check that the networks of ``space`` can be built: its supernets bound all others.

    Raises:
        SpaceError: more parameters, modules or MACs than are allowed; the hint says what to set.
    """
    known = (f"{space.identity} {space.task}", allowed("parameters"), allowed("MACs"))
    if known in _known:
        return
    with torch.random.fork_rng(devices=[]):  # a constructor may draw all the same
        for role in ROLES:
            _lay_out(space, role)
    _known.add(known)


@contextmanager
def within_limits(space: SearchSpace, role: Role) -> Iterator[None]:
    """Refuse to build more parameters and modules in a ``with`` block than are allowed.

    Raises:
        SpaceError: there are more.
    """
    most, found, modules = allowed("parameters"), 0, 0

    def more_parameters(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal found
        found += 0 if parameter is None else parameter.numel()
        if found > most:
            raise _too_large(space, role, "parameters", most)

    def more_modules(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MAX_MODULES:
            raise _TooLargeError(
                f"space '{space.name}': its {role} has more than {MAX_MODULES} modules"
            )

    hooks = (
        registration.register_module_parameter_registration_hook(more_parameters),
        registration.register_module_module_registration_hook(more_modules),
    )
    try:
        yield
    except (RuntimeError, TypeError, OverflowError) as error:
        if "overflow" not in str(error).lower():  # of sizes beyond 64 bits
            raise
        raise _too_large(space, role, "parameters", most) from None
    finally:
        for hook in hooks:
            hook.remove()


def allowed(what: str) -> int:
    """Return how many ``parameters`` or ``MACs`` a network may have.

    Raises:
        ConfigError: the environment variable that says so holds no number.
    """
    variable = VARIABLES[what]
    text = os.environ.get(variable, "")
    if not text:
        return MAX_PARAMETERS if what == "parameters" else MAX_MACS
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"environment {variable}: got '{text[:60]}', expected a number such as 5e9"
        ) from None


class _TooLargeError(SpaceError):
    """Told apart from what else a space may refuse."""


def _lay_out(space: SearchSpace, role: Role) -> None:
    """Check the size of a supernet, and the cost of one image on its first path.

    A space without a supernet of this role refuses to build one; its first architecture is laid
    out instead.
    """
    most = allowed("MACs")
    inputs: Any = space.input.shape if role == "generator" else space.task.image
    try:
        with within_limits(space, role), torch.device("meta"):
            network = _widest(space, role)
        macs = count(network, inputs).macs
    except _TooLargeError:
        raise
    except Exception:  # code of a space that does not work without values; files hold no code
        return
    if macs > most:
        raise _too_large(space, role, "MACs", most)


def _widest(space: SearchSpace, role: Role) -> Network:
    try:
        return build(space, role, {})
    except _TooLargeError:
        raise
    except NastkError:
        return build(space, role, space.repair({d.name: d.allowed[0] for d in space.decisions}))


def _too_large(space: SearchSpace, role: Role, what: str, most: int) -> SpaceError:
    return _TooLargeError(
        f"space '{space.name}': its {role} has more than {most:.0e} {what} with these settings",
        f"allow it with {VARIABLES[what]}, e.g. {VARIABLES[what]}={10 * most:.0e}",
    )
