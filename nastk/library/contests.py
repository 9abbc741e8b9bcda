"""Strategies held against each other from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.comparing.asking import seeds_of
from nastk.comparing.concluding import Conclusion, conclude
from nastk.comparing.planning import Asked as Question
from nastk.comparing.planning import make_plan
from nastk.comparing.running import complete
from nastk.comparing.store import Store
from nastk.comparing.tables import head, markdown, row_of, summary
from nastk.comparing.verdicts import Verdict
from nastk.engine import StopRequest
from nastk.errors import RunFolderError
from nastk.library.given import Asked
from nastk.library.own import own_entries
from nastk.library.watching import patience, threads_kept
from nastk.records import SCHEMA, digest
from nastk.rundir import write_json
from nastk.state import read_json

if TYPE_CHECKING:
    from nastk.library.given import DataLike, SpaceLike, StrategyLike

CODE = "code.json"
MAX_CODE = 1 << 20


@frozen(eq=False)
class Contest:
    """What a comparison came to.

    Attributes:
        path: of its folder; the same call continues there.
        conclusion: verdicts, practices, files and hash.
    """

    path: Path
    conclusion: Conclusion = field(repr=False)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the numbers support, a table each."""
        return self.conclusion.verdicts

    @property
    def troubles(self) -> list[str]:
        """A line for everything that keeps it from being a fair comparison."""
        return self.conclusion.troubles

    @property
    def table(self) -> str:
        """The tables as Markdown."""
        return markdown(self.verdicts, self.conclusion.foresights)

    @property
    def page(self) -> Path:
        """The HTML page."""
        return next(path for path in self.conclusion.files if path.suffix == ".html")

    def _repr_html_(self) -> str:
        from nastk.report.cells import tables_cell

        told = [
            (v.name, summary(v), head(v), [row_of(row, v) for row in v.rows]) for v in self.verdicts
        ]
        return tables_cell(told, self.troubles)


def compare(
    strategies: Sequence[StrategyLike] | Mapping[str, Mapping[str, Any]],
    space: SpaceLike = "",
    data: DataLike = "",
    budget: str = "",
    *,
    seeds: int | Sequence[int] = 5,
    benchmark: str = "",
    baselines: bool = True,
    metric: str = "",
    device: str = "",
    out: str | Path = "",
    settings: Mapping[str, Any] | None = None,
    stop: StopRequest | None = None,
    **words: Any,
) -> Contest:
    """Hold strategies against each other and against random search, at equal budgets.

    The same as ``nastk compare`` with one worker, which is this process, so that your own code
    takes part. The same call continues where an earlier one was ended.

    Args:
        strategies: names and own code; or label → settings of the row, as in a comparison file.
        space: what is searched.
        data: as :func:`nastk.search` takes it.
        budget: of every search, e.g. ``"200 GMACs"``.
        seeds: how many, or which.
        benchmark: name of a tabulated space in the place of ``space``.
        baselines: random sampling and random search are in.
        metric: that decides; empty: chosen from what is measured.
        device: empty: CUDA where there is one.
        out: folder; empty: named after the comparison, in ``runs/``.
        settings: dotted key → value, for all rows.
        stop: asks for an early end; everything is kept.
        **words: the same settings as ``section__key=value``.

    Raises:
        UserError: something does not exist, does not fit, or the folder holds another comparison.
        KeyboardInterrupt: ended by Ctrl-C; everything is kept.
    """
    asked = Asked()
    asked.take(data=data)
    asked.set({"run.device": device} if device else None, {})
    asked.set(settings, words)
    named = "" if isinstance(space, str) and not space else asked.named("space", space)
    question = Question(
        rows=strategies if isinstance(strategies, Mapping)
        else {asked.named("strategy", each): {} for each in strategies},
        spaces=(named,) if named else (),
        common=asked.values,
        seeds=seeds_of(seeds, "argument seeds"),
        budget=budget,
        metric=metric,
        baselines=baselines,
        benchmark=benchmark,
    )  # fmt: skip
    plan = make_plan(question, asked.registry)
    code = own_entries(asked.registry)
    name = "-".join([*(table.name for table in plan.tables), digest([plan.identity, code])[:6]])
    store = Store.make(Path(out) if out else Path("runs", f"compare-{name}"), plan)
    _hold_code(store, code)
    request = stop or StopRequest()
    with patience(request), threads_kept():
        complete(store, asked.registry, 1, _drop, request)
    if request.is_set() and stop is None:
        raise KeyboardInterrupt(f"{store.path}: the same call continues")
    return Contest(store.path, conclude(store))


def _hold_code(store: Store, code: Mapping[str, str]) -> None:
    """Refuse a folder whose cells were run with other code of the caller's."""
    file = store.path / CODE
    if not file.is_file():
        write_json(file, {"schema": SCHEMA, "kind": "code", "own": dict(code)})
    elif read_json(file, "code", MAX_CODE).get("own") != dict(code):
        raise RunFolderError(
            f"{store.path}: was compared with other code of yours", "choose another folder"
        )


def _drop(line: str) -> None:
    pass
