"""Soak: mixed runs for hours, killed at random and on broken disks; does anything leak?

``python -m benchmarks.soak --minutes 120 --out FOLDER``. One long-lived process does runs in
itself, one after the other, and its memory, threads and open files are watched. In turns with
them, runs in processes of their own are killed at random moments or meet a disk that is full,
read-only, failing or slow, and are continued until they end. Everything that they leave behind is
looked for: processes, locks, temporary files. ``FOLDER/soak.json`` holds the result; it is written
after every round, so one that is cut off counts as far as it came.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import tiny
from benchmarks.measure import machine

WARM_UP = 0.25
"""Share of the in-process runs that memory may grow in."""
KINDS = ("killed", "killed", "killed", "full", "read-only", "failing", "slow")
LONGEST = 1.5
"""Seconds from a session's first record to its kill, at most."""
CONTINUED = 40
"""Times that a run is continued before it must end unharmed."""


class Soak:
    """The long-lived process.

    Args:
        out: empty folder; every run is made in it.
        seed: decides strategies, faults and moments.
    """

    def __init__(self, out: Path, seed: int) -> None:
        from nastk.plugins import load

        self.out = out
        self.draw = random.Random(seed)
        self.registry = load()
        self.temporary = out / "tmp"
        self.temporary.mkdir(parents=True)
        self.whole: dict[str, Any] = {}
        self.memory: list[dict[str, Any]] = []
        self.children: list[int] = []
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.began = time.monotonic()

    def round(self, number: int) -> None:
        """Do one run in this process, whole, broken or continued, and one in others."""
        strategy = self.draw.choice(list(tiny.STRATEGIES))
        self.inside(strategy, number)
        strategy = self.draw.choice(list(tiny.STRATEGIES))
        self.outside(strategy, number, self.draw.choice(KINDS))

    # -- in this process -----------------------------------------------------------------------

    def inside(self, strategy: str, number: int) -> None:
        """Run a strategy here, every other time on a disk that breaks on the way."""
        from nastk import engine
        from nastk.config import resolve
        from nastk.disk import replaced
        from nastk.errors import DiskError
        from nastk.testing.faults import Fault, FaultyDisk

        folder = self.out / f"in{number}"
        words = tiny.words(strategy, folder)
        pairs = dict(zip(words[1::2], words[2::2], strict=False))
        settings = [w for flag, w in zip(words[1::2], words[2::2], strict=True) if flag == "--set"]
        flags = dict(word.split("=", 1) for word in settings)
        flags |= {"run.strategy": strategy, "run.space": pairs["--space"]}
        config = resolve(self.registry, flags=flags, env={})
        kind = self.draw.choice(("full", "read-only", "failing"))
        fault = Fault(kind, self.draw.randrange(10, 120)) if self.draw.random() < 0.5 else None
        disk = FaultyDisk(fault)
        with replaced(disk), suppress(DiskError):
            engine.run(config, self.registry, folder)
        if fault is not None and len(disk.points) > fault.point:
            # Also where the run had ended: on a broken disk it cannot take its name away.
            engine.resume(folder, self.registry)
            self.counts[f"in process, disk {kind}"] += 1
        else:
            self.counts["in process, whole"] += 1
        self.compare(strategy, folder)
        self.look(folder)
        gc.collect()
        self.memory.append(
            {
                "minutes": round((time.monotonic() - self.began) / 60, 2),
                "strategy": strategy,
                "mib": round(_resident() / 2**20, 1),
                "files": _entries("/proc/self/fd"),
                "threads": _entries("/proc/self/task"),
            }
        )

    # -- in processes of their own -------------------------------------------------------------

    def outside(self, strategy: str, number: int, kind: str) -> None:
        """Run a strategy in processes that are killed, or whose disk breaks, until it ends."""
        folder, said = self.out / f"out{number}", self.out / f"out{number}.said"
        for attempt in range(CONTINUED):
            harmed = attempt < self.draw.randint(1, 4)
            code = self._session(strategy, folder, said, kind if harmed else "")
            self.counts[f"session {kind if harmed else 'unharmed'}: {code}"] += 1
            if code == 0:
                break
            expected = {-9} if kind == "killed" else {2}
            if not harmed or code not in expected:
                self.problems.append(f"{strategy}: {kind}: exit {code}: {_last(said)}")
            if "Traceback" in said.read_text(errors="replace"):
                self.problems.append(f"{strategy}: {kind}: a traceback")
            self._leaves_a_usable_lock(folder)
        self.compare(strategy, folder)
        self.look(folder)

    def _session(self, strategy: str, folder: Path, said: Path, kind: str) -> int:
        environment = {"TMPDIR": str(self.temporary)}
        words, known = tiny.words(strategy, folder), tiny.sessions(folder)
        if kind in ("", "killed"):
            command = ["-m", "nastk", *words]
        else:
            point = str(self.draw.randrange(8, 100))
            command = ["-m", "nastk.testing.faults", kind, point, "--", *words]
        process = tiny.start(command, said, environment)
        if kind == "killed":
            code = tiny.stop(process, folder, known, self.draw.uniform(0.0, LONGEST))
        else:
            code = process.wait()
        if not tiny.patient(lambda: not _of_session(process.pid), 10.0):
            self.problems.append(f"{strategy}: processes outlive it: {_of_session(process.pid)}")
        self.children.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
        return code

    def _leaves_a_usable_lock(self, folder: Path) -> None:
        from nastk.errors import RunFolderError
        from nastk.rundir import RunFolder

        if not (folder / "run.json").exists():
            return
        held = RunFolder.open(folder)
        try:
            held.hold()
        except RunFolderError as error:
            self.problems.append(f"the lock stays: {error}")
        finally:
            held.release()

    # -- what is left --------------------------------------------------------------------------

    def compare(self, strategy: str, folder: Path) -> None:
        """Hold a run against the first of its strategy, bit by bit."""
        from nastk.testing.folders import result_files

        found = json.loads(json.dumps(result_files(folder)))
        if self.whole.setdefault(strategy, found) != found:
            self.problems.append(f"{strategy}: {folder.name} ends otherwise than the first")
            shutil.copytree(folder, self.out / "kept" / folder.name, dirs_exist_ok=True)

    def look(self, folder: Path) -> None:
        """Look for what a finished run must not leave, then remove it."""
        names = [p.name for p in folder.rglob("*")]
        left = [n for n in names if n.startswith(".") or n.endswith(".new") or n == "holder.json"]
        left += [f"tmp/{path.name}" for path in self.temporary.iterdir()]
        if left:
            self.problems.append(f"{folder.name} leaves {', '.join(sorted(left)[:5])}")
        shutil.rmtree(folder)
        for path in self.temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def result(self) -> dict[str, Any]:
        """Return all that was found so far."""
        return {
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "rounds": len(self.memory),
            "counts": dict(sorted(self.counts.items())),
            "problems": self.problems,
            "growth": growth([m["mib"] for m in self.memory]),
            "files": [self.memory[0]["files"], self.memory[-1]["files"]] if self.memory else [],
            "threads": [self.memory[0]["threads"], self.memory[-1]["threads"]]
            if self.memory
            else [],
            "largest_child_mib": max(self.children, default=0),
            "memory": self.memory,
        }


def growth(mib: list[float]) -> dict[str, float] | None:
    """Return memory just after the warm-up, at the end, and the growth between; medians.

    A quarter of the runs after the warm-up makes each median. None with fewer than eight runs.
    """
    rest = mib[round(len(mib) * WARM_UP) :]
    if len(mib) < 8:
        return None
    part = max(1, len(rest) // 4)
    early, late = statistics.median(rest[:part]), statistics.median(rest[-part:])
    return {"early_mib": early, "late_mib": late, "share": round(late / early - 1, 4)}


def section(result: Mapping[str, Any]) -> str:
    """Return what the page says of a result."""
    counts, grown = result["counts"], result["growth"]
    inside = sum(n for name, n in counts.items() if name.startswith("in process"))
    broken = inside - counts.get("in process, whole", 0)
    each: Counter[str] = Counter()
    for name, n in counts.items():
        if name.startswith("session ") and "unharmed" not in name:
            each[name.removeprefix("session ").partition(":")[0]] += n
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(each.items()))
    early, late, share = (grown[key] for key in ("early_mib", "late_mib", "share"))
    files, threads = (" and ".join(map(str, result[key])) for key in ("files", "threads"))
    return f"""\
In {result["minutes"]:.0f} minutes a process did {inside} runs of all strategies in itself,
{broken} of them on a disk that broke on the way. In turns with them as many runs were done by
processes of their own; {sum(each.values())} of their sessions were harmed ({kinds}),
and the runs continued to their end.

* Memory of the long process, medians after the warm-up and at the end: {early:.0f} and
  {late:.0f} MiB ({100 * share:+.1f} %).
* Its open files at the start and at the end: {files}; its threads: {threads}.
* Processes, locks and temporary files left behind, and runs that did not end as the first of
  their strategy: {"; ".join(result["problems"]) or "none"}."""


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def _of_session(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _last(said: Path) -> str:
    lines = said.read_text(errors="replace").splitlines()
    return lines[-1][:200] if lines else "said nothing"


@contextmanager
def _temporaries(folder: Path) -> Iterator[None]:
    """Have temporary files of this process made in ``folder``, where they are seen."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def main(arguments: list[str] | None = None) -> None:
    """Soak for so many minutes; exits with 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--out", type=Path, required=True, help="empty folder, made if missing")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(given.out.resolve() / "torch")  # no leak of ours
    soak = Soak(given.out.resolve(), given.seed)
    with _temporaries(soak.temporary):
        while (time.monotonic() - soak.began) / 60 < given.minutes:
            soak.round(len(soak.memory))
            result = {"machine": machine(), **soak.result()}
            new = given.out / "soak.json.new"
            new.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            new.replace(given.out / "soak.json")
            print(_line(result), flush=True)
    raise SystemExit(1 if soak.problems else 0)


def _line(result: dict[str, Any]) -> str:
    last = result["memory"][-1]
    return (
        f"{result['minutes']:7.1f} min  {result['rounds']:4d} rounds  {last['mib']:7.1f} MiB  "
        f"{len(result['problems'])} problems  last: {last['strategy']}"
    )


if __name__ == "__main__":
    main()
