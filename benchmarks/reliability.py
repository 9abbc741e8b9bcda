"""The fault table: every fault × every strategy, and hundreds of kills; does the run survive?

``python -m benchmarks.reliability --page docs/reliability.md`` runs every strategy in a tiny size,
breaks it, continues it with ``nastk resume``, and holds the end against the run that nothing
happened to, bit by bit. ``--kills 200`` are spread over all strategies. What is done is kept in
``--out`` after every case, so that a campaign that is cut off goes on where it was.

Each session is a forked process that runs the command line as a user would.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import random
import runpy
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import soak, tiny
from benchmarks.measure import ROOT, machine

RESULT = ROOT / "benchmarks" / "results" / "reliability.json"
SOAK = RESULT.with_name("soak.json")
"""``soak.json`` of a soak, put there by hand."""
BETWEEN = "nastk.gan.loop:GanTraining._train_generator"
EVALUATION = "nastk.metrics.evaluator:StandardEvaluator.evaluate"
FAULTS: Mapping[str, str] = {
    "kill before": "killed before a change of the disk",
    "kill middle": "killed in the middle of a write, or of a journal's line",
    "kill after": "killed after a change of the disk",
    "kill between": "killed between an update of D and one of G",
    "kill evaluation": "killed during an evaluation",
    "sigterm": "SIGTERM",
    "sigint": "Ctrl-C",
    "full": "disk full",
    "read-only": "disk read-only",
    "failing": "disk failing (input/output errors)",
    "slow": "disk slow (20 ms a change)",
    "truncated": "newest generation truncated",
    "empty": "newest generation with an empty file",
    "flipped": "newest generation with a flipped bit",
}
EXPECTED = {"sigterm": (143,), "sigint": (130,), "full": (2,), "read-only": (2,), "failing": (2,)}
KILLED = (-signal.SIGKILL,)


class Updates:
    """Counts the generator updates of all processes forked from this one."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def number(self) -> int:
        """Updates so far."""
        return int.from_bytes(self._shared[:8], "little")

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count those of this process."""
        from nastk.gan.loop import GanTraining

        step = GanTraining._step

        def counted(training: GanTraining) -> None:
            step(training)
            self._shared[:8] = (self.number + 1).to_bytes(8, "little")

        GanTraining._step = counted  # type: ignore[method-assign]
        yield


UPDATES = Updates()


def session(words: Sequence[str], said: Path, *around: Any) -> int:
    """Start a process that runs nastk within some contexts; return its number."""
    from nastk.testing.faults import forked

    def work() -> None:
        sys.argv = ["nastk", *words]
        with ExitStack() as stack:
            for context in (UPDATES.counting, *around):
                stack.enter_context(context())
            runpy.run_module("nastk", run_name="__main__")

    return forked(work, said)


def ended(child: int) -> int:
    """Wait for a process; return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Campaign:
    """Cases that are done, and those to do.

    Args:
        out: folder of the runs and of what is done.
        seed: decides points and moments.
    """

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.seed = out, seed
        out.mkdir(parents=True, exist_ok=True)
        self.file = out / "done.json"
        done = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.done: dict[str, Any] = done or {"whole": {}, "cases": {}, "kills": {}}

    def keep(self) -> None:
        """Write what is done."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.done, indent=1) + "\n", encoding="utf-8")
        new.replace(self.file)

    def whole(self, strategy: str) -> dict[str, Any]:
        """Return the files, seconds and number of changes of a run that nothing happens to."""
        from nastk.disk import replaced
        from nastk.testing.faults import FaultyDisk

        if strategy not in self.done["whole"]:
            folder = self.fresh("whole", strategy)
            disk, points = FaultyDisk(), folder.with_suffix(".points")

            def counted() -> Any:
                stack = ExitStack()
                stack.callback(lambda: points.write_text(str(len(disk.points))))
                stack.enter_context(replaced(disk))
                return stack

            began, before = time.monotonic(), UPDATES.number
            code = ended(
                session(tiny.words(strategy, folder), folder.with_suffix(".said"), counted)
            )
            if code:
                raise SystemExit(f"{strategy}: exit {code}, see {folder.with_suffix('.said')}")
            self.done["whole"][strategy] = {
                "files": _files(folder),
                "seconds": time.monotonic() - began,
                "points": int(points.read_text()),
                "updates": UPDATES.number - before,
            }
            self.keep()
        return dict(self.done["whole"][strategy])

    def fresh(self, *names: str) -> Path:
        """Return the free folder of a run."""
        folder = self.out / "-".join(name.replace(" ", "-") for name in names)
        shutil.rmtree(folder, ignore_errors=True)
        for suffix in (".said", ".points"):
            folder.with_suffix(suffix).unlink(missing_ok=True)
        return folder

    # -- one fault -----------------------------------------------------------------------------

    def case(self, strategy: str, fault: str, number: int) -> None:
        """Break a run once, continue it, and keep what came of it."""
        name = f"{strategy}/{fault}/{number}"
        if name in self.done["cases"]:
            return
        whole = self.whole(strategy)
        draw = random.Random(f"{self.seed}/{name}")
        folder = self.fresh(*name.split("/"))
        said = folder.with_suffix(".said")
        before = UPDATES.number
        code = self._broken(strategy, fault, folder, draw, whole)
        seconds = _since_commit(folder)
        if code in KILLED and fault in ("truncated", "empty", "flipped"):
            _damage(folder, fault, draw)
        again = 0 if code == 0 else ended(session(tiny.words(strategy, folder), said))
        expected = (0,) if fault == "slow" else EXPECTED.get(fault, KILLED)
        survived = again == 0 and _files(folder) == whole["files"]
        late = code == 0 and survived and fault in EXPECTED  # all was written when it struck
        self.done["cases"][name] = {
            "exit": code,
            "clean": late or (code in expected and again == 0),
            "survived": survived,
            "traceback": "Traceback" in said.read_text(errors="replace"),
            "lost": {"steps": UPDATES.number - before - whole["updates"], "seconds": seconds},
        }
        self.keep()
        shutil.rmtree(folder)

    def _broken(
        self, strategy: str, fault: str, folder: Path, draw: random.Random, whole: Any
    ) -> int:
        from nastk.disk import replaced
        from nastk.testing.faults import Fault, FaultyDisk, killed_in

        words, said = tiny.words(strategy, folder), folder.with_suffix(".said")
        late = fault in ("truncated", "empty", "flipped")
        point = draw.randrange(whole["points"] // 2 if late else 8, whole["points"] - 2)
        if fault in ("sigterm", "sigint"):
            seconds = draw.uniform(0.0, whole["seconds"] * 0.3)
            return _signalled(session(words, said), folder, seconds, fault)
        if fault == "kill between":
            call = draw.randrange(100)
            return ended(session(words, said, lambda: killed_in(BETWEEN, call)))
        if fault == "kill evaluation":
            call = draw.randrange(2)
            return ended(session(words, said, lambda: killed_in(EVALUATION, call)))
        kind, _, moment = ("kill after" if late else fault).partition(" ")
        disk = FaultyDisk(Fault(kind, point, moment or "before"))  # type: ignore[arg-type]
        return ended(session(words, said, lambda: replaced(disk)))

    # -- kills ---------------------------------------------------------------------------------

    def kill(self, strategy: str, kills: int) -> None:
        """Kill runs of a strategy at random moments, so often in all; continue each to its end."""
        done = self.done["kills"].setdefault(
            strategy, {"kills": 0, "runs": 0, "equal": 0, "unclean": 0, "steps": 0, "seconds": []}
        )
        whole = self.whole(strategy)
        while done["kills"] < kills:
            folder = self.fresh("killed", strategy)
            draw = random.Random(f"{self.seed}/{strategy}/{done['runs']}")
            struck, code, before = 0, 1, UPDATES.number
            while code != 0:
                words, said = tiny.words(strategy, folder), folder.with_suffix(".said")
                known, child = tiny.sessions(folder), session(words, said)
                if done["kills"] + struck < kills:
                    seconds = draw.uniform(0.0, whole["seconds"] * 0.25)
                    code = _signalled(child, folder, seconds, "sigkill", known)
                else:
                    code = ended(child)
                struck += code in KILLED
                if code in KILLED:
                    done["seconds"].append(_since_commit(folder))
                if code not in (0, *KILLED):
                    done["unclean"] += 1
                    break
            done["kills"] += struck
            done["runs"] += 1
            done["equal"] += code == 0 and _files(folder) == whole["files"]
            done["steps"] += UPDATES.number - before - whole["updates"]
            self.keep()
            shutil.rmtree(folder)


def _signalled(child: int, folder: Path, seconds: float, name: str, known: int = 0) -> int:
    """Send a signal some time after a process's session began; return its exit code."""
    number = {"sigterm": signal.SIGTERM, "sigint": signal.SIGINT, "sigkill": signal.SIGKILL}[name]
    while tiny.sessions(folder) == known:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, number)
    return ended(child)


def _damage(folder: Path, fault: str, draw: random.Random) -> None:
    from nastk.testing.faults import damaged

    damaged(folder, fault, draw.randrange(10**6))  # type: ignore[arg-type]


def _files(folder: Path) -> Any:
    from nastk.records import digest
    from nastk.testing.folders import result_files

    return digest(json.loads(json.dumps(result_files(folder))))


def _since_commit(folder: Path) -> float:
    """Return the seconds of work, up to now, that no generation holds."""
    commits = [p.stat().st_mtime for p in folder.glob("generations/0*/manifest.json")]
    path = folder / "sessions.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    starts = [json.loads(line)["at"] for line in lines if b'"start"' in line and line[-1:] == b"}"]
    last = max([*commits, *starts], default=time.time())
    return round(max(0.0, time.time() - last), 3)


def summary(done: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the page."""
    rows: dict[str, Any] = {}
    for fault in FAULTS:
        cases = {n: c for n, c in done["cases"].items() if n.split("/")[1] == fault}
        if cases:
            rows[fault] = _row(cases)
    kills = {
        name: {
            **{key: k[key] for key in ("kills", "runs", "equal", "unclean")},
            "steps": round(k["steps"] / k["kills"], 1),
            "seconds": round(statistics.mean(k["seconds"]), 2),
        }
        for name, k in done["kills"].items()
        if k["kills"]
    }
    return {"machine": machine(), "faults": rows, "kills": kills}


def _row(cases: Mapping[str, Any]) -> dict[str, Any]:
    strategies = {name.split("/")[0] for name in cases}
    survived = {
        s: [c["survived"] for n, c in cases.items() if n.split("/")[0] == s]
        for s in sorted(strategies)
    }
    return {
        "strategies": {s: [sum(found), len(found)] for s, found in survived.items()},
        "steps": max(c["lost"]["steps"] for c in cases.values()),
        "seconds": max(c["lost"]["seconds"] for c in cases.values()),
        "unclean": sum(not c["clean"] for c in cases.values()),
        "tracebacks": sum(c["traceback"] for c in cases.values()),
    }


def page(found: Mapping[str, Any]) -> str:
    """Return ``docs/reliability.md``."""
    faults, kills = found["faults"], found["kills"]
    names = sorted({s for row in faults.values() for s in row["strategies"]})
    head = ["fault", *names, "updates lost", "seconds lost", "unclean exits", "tracebacks"]
    lines = [_table(head)]
    for fault, row in faults.items():
        cells = ["/".join(map(str, row["strategies"].get(s, ["–"]))) for s in names]
        costs = [row["steps"], f"{row['seconds']:.1f}", row["unclean"], row["tracebacks"]]
        lines.append(_cells([FAULTS[fault], *cells, *costs]))
    killed = [_table(["strategy", "kills", "runs", "ended with the same bits", "unclean exits",
                      "updates lost by a kill", "seconds lost by a kill"])]  # fmt: skip
    for name, k in sorted(kills.items()):
        killed.append(_cells([name, k["kills"], k["runs"], k["equal"], k["unclean"], k["steps"],
                              f"{k['seconds']:.1f}"]))  # fmt: skip
    text = (Path(__file__).parent / "reliability.md").read_text(encoding="utf-8")
    total = sum(k["kills"] for k in kills.values())
    cases = sum(n for row in faults.values() for _, n in row["strategies"].values())
    for mark, value in {
        "@cases@": str(cases), "@kills@": str(total), "@table@": "\n".join(lines),
        "@killed@": "\n".join(killed), "@machine@": str(found["machine"]["cpu"]),
        "@soak@": soak.section(json.loads(SOAK.read_text())),
    }.items():  # fmt: skip
        text = text.replace(mark, value)
    return text


def _table(head: Sequence[str]) -> str:
    return f"{_cells(head)}\n{_cells(['---'] * len(head))}"


def _cells(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _preload() -> None:
    """Import all that a session needs, so that each is forked with it; nothing is computed."""
    import nastk.cli.group
    import nastk.engine
    import nastk.finished
    import nastk.gan.loop
    import nastk.metrics.evaluator  # noqa: F401
    from nastk.plugins import load
    from nastk.registry import KINDS

    for entry in load():
        if entry.component.kind in KINDS and entry.distribution != "nastk-ray":
            entry.component.load_factory()


def main(arguments: list[str] | None = None) -> None:
    """Do what is not done yet, then write the result and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reliability"), help="of the campaign")
    parser.add_argument("--cases", type=int, default=2, help="of each fault and strategy")
    parser.add_argument("--kills", type=int, default=200, help="at random moments, over all")
    parser.add_argument("--strategies", nargs="*", default=list(tiny.STRATEGIES))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--kept", type=Path, default=RESULT, help="file of the result")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="write the page here")
    parser.add_argument("--only-page", action="store_true", help="of the result that is kept")
    given = parser.parse_args(arguments)
    if not given.only_page:
        os.environ["OMP_NUM_THREADS"] = "1"
        _preload()
        campaign = Campaign(given.out.resolve(), given.seed)
        _do(campaign, given)
    if given.page:
        given.page.write_text(page(json.loads(given.kept.read_text())), encoding="utf-8")


def _do(campaign: Campaign, given: argparse.Namespace) -> None:
    names, kills = given.strategies, 0
    for number in range(given.cases):
        for fault, name in itertools.product(given.faults, names):
            campaign.case(name, fault, number)
            found = campaign.done["cases"][f"{name}/{fault}/{number}"]
            print(f"{name}: {fault}: {found}", flush=True)
        kills = -(-given.kills * (number + 1) // given.cases)
        for name in names if kills else ():
            campaign.kill(name, -(-kills // len(names)))
            print(f"{name}: {campaign.done['kills'][name]['kills']} kills", flush=True)
        given.kept.write_text(f"{json.dumps(summary(campaign.done), indent=1)}\n")


if __name__ == "__main__":
    main()
