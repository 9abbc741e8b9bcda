"""``nastk compare``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    flag_options,
    flags_of,
    json_option,
    one_line,
    print_json,
    print_table,
    say,
    verbosity,
)
from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.comparing.concluding import Conclusion
    from nastk.comparing.planning import Asked, Plan
    from nastk.executor import Executor

_EXAMPLES = """\b
Examples:
  nastk compare --strategies tpe,blockwise --spaces stasgan --budget 200gmacs
  nastk compare comparison.toml --workers 2 --strict
  nastk compare runs/tpe-* runs/blockwise-*
  nastk compare --benchmark nano --strategies tpe --seeds 100 --budget 4000steps
  nastk compare comparison.toml --executor ray --set executor.address=auto
"""


@click.command("compare", epilog=_EXAMPLES)
@click.argument("what", nargs=-1, metavar="[FILE | RUN...]")
@click.option("--strategies", metavar="A,B", help="a row each, with their default settings")
@click.option("--spaces", metavar="A,B", help="a table each")
@click.option("--benchmark", metavar="NAME", help="a tabulated space; no run folders are written")
@click.option("--seeds", metavar="N", type=click.IntRange(1, 10_000), help="seeds of a row  [5]")
@click.option("--budget", metavar="TEXT", help="of every search, e.g. 200gmacs, 2000steps")
@click.option("--metric", metavar="NAME", help="that decides  [extractor_fd, else rating]")
@click.option("--trainings", metavar="N", type=click.IntRange(1, 100),
              help="trainings of each winner, to tell their variance apart  [1]")  # fmt: skip
@click.option("--proxy", metavar="N", type=click.IntRange(2, 64),
              help="candidates trained alone, to judge search-time scores")  # fmt: skip
@click.option("--no-baseline", is_flag=True, help="leave out random sampling and random search")
@click.option("--strict", is_flag=True, help="fail when anything is not comparable")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256),
              help="cells at a time  [2, with --executor as many as have room]")  # fmt: skip
@click.option("--executor", metavar="NAME",
              help="where cells run, e.g. ray: on a cluster whose nodes see this folder and the "
              "comparison's at the same paths  [processes of this machine]")  # fmt: skip
@flag_options(
    "run.dataset",
    "run.objective",
    "run.trainer",
    "run.evaluator",
    "run.device",
    "run.out",
    "dataset.labels",
    "dataset.root",
    "evaluator.inception_weights",
    out="folder of the comparison  [runs/compare-SPACES-BENCHMARK]",
)
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    /,
    what: tuple[str, ...],
    no_baseline: bool,
    strict: bool,
    workers: int | None,
    executor: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    **words: Any,
) -> int:
    """Hold strategies against each other and against random search, at equal budgets.

    FILE is a TOML file that names rows, spaces, seeds and budget; RUN are folders of finished
    runs, whose baselines are then run. All cells of a table share data, space, training and
    evaluator. The same command continues after an interruption, whatever ended it.
    """
    from nastk.cli.interrupts import interrupts
    from nastk.comparing.concluding import conclude
    from nastk.comparing.running import complete
    from nastk.comparing.store import Store
    from nastk.engine import StopRequest
    from nastk.executor import InProcess

    app = ctx.ensure_object(App)
    flags: dict[str, Any] = flags_of(ctx, settings)
    out = flags.pop("run.out", "")
    place = _executor(app, executor, flags) if executor else None
    given = {key: value for key, value in words.items() if value is not None}
    given |= {"baselines": False} if no_baseline else {}
    plan = _plan(app, what, given, flags)
    store = Store.make(Path(out) if out else _usual_folder(plan), plan)
    stop = StopRequest()
    tell = say if app.level >= 0 else _drop
    with interrupts(stop.set) as signal, closing(place or InProcess()):
        whole = complete(store, app.registry, workers or 0, tell, stop, place)
    if stop.is_set():
        say("interrupted; the same command continues")
        return signal.code
    found = conclude(store)
    _print(found, store.path, as_json)
    for line in found.troubles:
        say(f"not comparable: {line}")
    if not whole:
        say("some cells came to no end; the same command continues with them")
    return 1 if not whole or (strict and found.troubles) else 0


def _executor(app: App, name: str, flags: dict[str, Any]) -> Executor:
    """Return the executor of cells; takes its settings out of the flags, which are of runs."""
    from nastk.config import resolve_component

    own = {key: flags.pop(key) for key in list(flags) if key.startswith("executor.")}
    settings = resolve_component(app.registry, "executor", name, flags=own)
    factory = app.registry.get("executor", name).component.load_factory()
    made: Executor = factory(settings)
    return made


def _plan(app: App, what: tuple[str, ...], given: dict[str, Any], flags: dict[str, Any]) -> Plan:
    from nastk.comparing.asking import from_toml, plan_of_runs, with_words
    from nastk.comparing.planning import Asked, make_plan

    paths = [Path(word) for word in what]
    if len(paths) == 1 and paths[0].suffix == ".toml":
        return make_plan(_with(with_words(from_toml(paths[0]), given, "flags"), flags),
                         app.registry)  # fmt: skip
    asked = _with(with_words(Asked(), given, "flags"), flags)
    if not paths:
        return make_plan(asked, app.registry)
    if refused := [f"--{name}" for name in ("strategies", "spaces", "benchmark", "seeds", "budget")
                   if name in given]:  # fmt: skip
        raise ConfigError(f"{refused[0]}: got finished runs too, which have their own")
    return plan_of_runs(paths, asked, app.registry)


def _with(asked: Asked, flags: dict[str, Any]) -> Asked:
    from attrs import evolve

    return evolve(asked, common={**asked.common, **flags})


def _usual_folder(plan: Plan) -> Path:
    names = "-".join(table.name for table in plan.tables)
    return Path("runs", f"compare-{names}-{plan.identity[:6]}")


def _print(found: Conclusion, folder: Path, as_json: bool) -> None:
    from nastk.comparing.tables import absences, head, row_of, summary

    if as_json:
        files = [str(path) for path in found.files]
        print_json("comparison", {"files": files, "hash": found.hash, **found.to_json()})
        return
    for verdict in found.verdicts:
        click.echo(f"{verdict.name}: {summary(verdict)}\n")
        print_table([head(verdict), *(row_of(row, verdict) for row in verdict.rows)])
        for line in absences(verdict):
            click.echo(f"\n{one_line(line)}")
        click.echo()
    met = sum(practice.state == "met" for practice in found.practices)
    rows = [("practices", f"{met} of {len(found.practices)} met")]
    rows += [(path.suffix[1:], str(path)) for path in found.files]
    print_table(rows)


def _drop(line: str) -> None:
    pass
