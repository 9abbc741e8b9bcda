"""The page of results: what was measured, on what, and how to read it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

WIDTH = 100
HEAD = """# Performance

What nastk's ways of computing cost against the plain ways, measured. Each section names the command
that repeats it; `python -m benchmarks --page docs/performance.md` repeats them all and writes this
page, `--only-page` writes it from the kept results (`benchmarks/results/`).

**How to read it.** Numbers with × are ratios of process CPU time: the plain way's time over the
other's, above 1 where the other is faster. Both ways take turns on one machine, beside published
code each in a process of its own; the median of the paired ratios stands first, the smallest and
largest in brackets. Seconds show the scale only: they belong to the machine named and drift on a
shared one. Memory is the growth of a fresh process's resident set at its peak.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rendered(found: Sequence[tuple[ModuleType, dict[str, Any]]]) -> str:
    """Return the page: each benchmark's section, with its command and its machine."""
    return "\n".join([HEAD, *(_section(module, document) for module, document in found)])


def _section(module: ModuleType, document: dict[str, Any]) -> str:
    command = f"`python -m benchmarks {document['benchmark']}`"
    said = module.section(document["result"]).strip()
    text = f"{command}, on {_machine(document['machine'])}.\n\n{said}"
    return f"## {module.TITLE}\n\n{wrapped(text)}\n"


def wrapped(text: str) -> str:
    """Return Markdown with its plain paragraphs filled to ``WIDTH`` columns."""
    return "\n\n".join(_filled(part) for part in text.split("\n\n"))


def _filled(part: str) -> str:
    if part.startswith(("|", "!", "#", "-", "*", "`" * 3, "<")):
        return part
    return textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False)


def _machine(machine: dict[str, Any]) -> str:
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"{machine['cores']} × {machine['cpu']}{flags}, {machine['ram_gib']:g} GiB{gpu}, "
        f"torch {machine['torch']}, {threads}"
    )
