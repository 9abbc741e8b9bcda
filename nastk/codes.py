"""Integer codes: a number per active decision, cells separated by ``/``, G and D by ``|``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nastk.errors import SpaceError
from nastk.records import Choices, Decision, Role


def write(active: Sequence[Decision], choices: Choices) -> str:
    """Return the codes of ``choices``; decisions without a choice are left out.

    Args:
        active: decisions that shape the network, in code order.
        choices: decision → option.
    """
    sides = []
    roles: tuple[Role, Role] = ("generator", "discriminator")
    for role in roles:
        cells: dict[str, list[str]] = {}
        for d in active:
            if d.role == role and d.name in choices:
                cell = cells.setdefault(d.cell or f"block{d.block}", [])
                cell.append(str(d.code(choices[d.name])))
        sides.append(" / ".join(" ".join(cell) for cell in cells.values()))
    return " | ".join(side for side in sides if side)


def sides(codes: str) -> list[list[int]]:
    """Return the integers of G, and of D where there is a ``|``; ``/`` and ``,`` are blanks.

    Raises:
        SpaceError: not integers, or more than two sides.
    """
    parts = codes.replace("/", " ").replace(",", " ").strip("[] ").split("|")
    if len(parts) > 2:
        raise SpaceError(f"codes '{codes}': got {len(parts)} sides of '|', expected at most 2")
    return [_integers(part) for part in parts]


def read(
    space: str,
    decisions: Iterable[Decision],
    codes: Sequence[int],
    choices: dict[str, str],
    blocks: int | None = None,
) -> None:
    """Enter the options that ``codes`` stand for into ``choices``.

    Args:
        space: its name, for errors.
        decisions: of one role, in code order; inactive ones have no code.
        codes: all of them.
        choices: mutated.
        blocks: the codes may stop after that many blocks.

    Raises:
        SpaceError: too few or too many codes, or one that is out of range or closed.
    """
    rest = list(codes)
    for decision in decisions:
        if not holds(decision, choices):
            continue
        if rest:
            choices[decision.name] = _option(decision, rest.pop(0))
        elif blocks is None or decision.block < blocks:
            raise SpaceError(
                f"space '{space}': got {len(codes)} {decision.role} codes, expected more "
                f"(decision '{decision.name}' has no code)"
            )
    if rest:
        used = len(codes) - len(rest)
        raise SpaceError(
            f"space '{space}': got {len(codes)} codes, expected {used}: {len(rest)} too many"
        )


def holds(decision: Decision, choices: Choices) -> bool:
    """Return whether ``choices`` make ``decision`` active."""
    if not decision.when:
        return True
    return any(all(choices.get(n) in opts for n, opts in c.items()) for c in decision.when)


def open_option(decision: Decision, option: str) -> str:
    """Return ``option``.

    Raises:
        SpaceError: it is closed here.
    """
    if option not in decision.allowed:
        raise SpaceError(
            f"decision '{decision.name}': option '{option}' is closed here, "
            f"expected one of {', '.join(decision.allowed)}"
        )
    return option


def _option(decision: Decision, code: int) -> str:
    if not 0 <= code < len(decision.options):
        raise SpaceError(
            f"decision '{decision.name}': got code {code}, "
            f"expected 0 to {len(decision.options) - 1}"
        )
    return open_option(decision, decision.options[code])


def _integers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise SpaceError(
            f"codes '{text.strip()[:60]}': expected integers separated by blanks"
        ) from None
