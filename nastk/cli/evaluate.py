"""``nastk evaluate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    flag_options,
    flags_of,
    json_option,
    print_json,
    print_table,
    say,
    verbosity,
)
from nastk.errors import ConfigError, PairError, RunFolderError

if TYPE_CHECKING:
    from nastk.finished.measuring import Measured, Ranking
    from nastk.records import Metric

_EXAMPLES = """\b
Examples:
  nastk evaluate runs/blockwise-stasgan-digits-0
  nastk evaluate runs/one runs/two --samples 10000 -o compared.json
  nastk evaluate runs/unfinished/generations/00012
  nastk evaluate samples --dataset digits
"""
SHEET = "neighbours.png"
_HELPS = {"dataset": "real images to measure against  [the run's]"}
_OPTIONS = (
    "run.dataset",
    "dataset.labels",
    "dataset.root",
    "evaluator.inception_weights",
)


@click.command("evaluate", epilog=_EXAMPLES)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--samples", type=click.IntRange(2), metavar="N", help="generated  [as the run]")
@click.option("--split", default="test", metavar="NAME", help="test or validation  [test]")
@click.option("--seed", type=int, metavar="N", help="of splits and inputs  [the run's]")
@flag_options(*_OPTIONS, **_HELPS)
@click.option("--device", default="auto", metavar="TEXT", help="auto, cpu, cuda or cuda:N  [auto]")
@click.option("--no-self-test", is_flag=True, help="trust the extractor untried")
@click.option(
    "--neighbours", metavar="FILE", help=f"sheet of nearest training images, PNG  [{SHEET}]"
)
@click.option("--no-neighbours", is_flag=True, help="leave that sheet and its verdict out")
@click.option("-o", "--output", metavar="FILE", help="write everything as JSON too")
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    samples: int | None,
    split: str,
    seed: int | None,
    settings: tuple[str, ...],
    device: str,
    no_self_test: bool,
    neighbours: str | None,
    no_neighbours: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Measure runs, their checkpoints, exported files or folders of images; rank several.

    Distances, class accuracy, size and speed, each with its protocol. Several targets are ranked
    only if they were measured alike. Training images nearest to generated ones are shown beside
    them. A checkpoint is a folder RUN/generations/N; its run need not be finished.
    """
    from nastk.device import choose_device, use_threads
    from nastk.finished import measuring
    from nastk.finished.bench import Wanted

    _check(split, neighbours if not no_neighbours else None, output)
    flags: dict[str, Any] = flags_of(ctx, settings)
    device, remark = choose_device(device)
    if remark:
        say(remark)
    use_threads(1)  # sums split over threads round differently
    wanted = Wanted(
        flags=flags if seed is None else {**flags, "run.seed": seed},
        samples=samples or 0,
        split=split,  # type: ignore[arg-type]
        device=device,
        self_test=not no_self_test,
        neighbours=not no_neighbours,
    )
    found = []
    for each in measuring.measure_all(targets, wanted, ctx.ensure_object(App).registry):
        found.append(each)
        if not as_json:
            _print(each)
    ranking = measuring.ranked(found) if len(found) > 1 else None
    sheets = measuring.save_neighbours(found, Path(neighbours or SHEET))
    _tell(found, ranking, sheets, output, as_json)
    if ranking is not None and ranking.unlike:
        raise PairError(
            f"not ranked: {ranking.unlike}", "measure all alike, e.g. with one --seed and --samples"
        )


def _check(split: str, *files: str | None) -> None:
    if split not in ("test", "validation"):
        raise ConfigError(f"--split: got '{split[:40]}', expected test or validation")
    for file in files:
        if file is not None and ("\0" in file or not Path(file).name or Path(file).is_dir()):
            raise ConfigError(f"got '{file[:80]}', expected the name of a file to write")


def _tell(
    found: Sequence[Measured],
    ranking: Ranking | None,
    sheets: Sequence[Path],
    output: str | None,
    as_json: bool,
) -> None:
    """Write what is said of all targets together."""
    document = _document(found, ranking, sheets)
    if output is not None:
        _write(Path(output), document)
    if as_json:
        print_json("evaluation", document)
        return
    if ranking is not None:
        _print_ranking(found, ranking)
    rows = [("sheet", str(sheet)) for sheet in sheets]
    rows += [("written", output)] if output is not None else []
    if rows:
        print_table(rows)


def _document(
    found: Sequence[Measured], ranking: Ranking | None, sheets: Sequence[Path]
) -> dict[str, Any]:
    from nastk.records import to_json

    return {
        "results": [each.facts() for each in found],
        "ranking": None if ranking is None else to_json(ranking),
        "sheets": [str(sheet) for sheet in sheets],
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    from nastk.records import SCHEMA

    whole = {"schema": SCHEMA, "kind": "evaluation", **document}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from None


def _print(each: Measured) -> None:
    from nastk.finished import Checkpoint

    winner = each.target.winner
    rows = [("target", each.target.name)]
    if winner is not None:
        rows.append(("architecture", f"{winner.codes}   ({winner.space.name})"))
    if isinstance(winner, Checkpoint):
        rows.append(("trained", f"{winner.steps:,} updates so far"))
    rows += [("data", _data(each)), *_extractors(each), ("self-test", _self_test(each))]
    print_table(rows)
    click.echo()
    print_table(
        [("metric", "value", "", "protocol"), *(_row(metric) for metric in each.metrics.values())]
    )
    if each.neighbours is not None:
        click.echo()
        print_table([("neighbours", each.neighbours.verdict)])
    click.echo()


def _extractors(each: Measured) -> list[tuple[str, str]]:
    """Return a row per network that judged, with the hash of its weights."""
    cards = {metric.card.extractor: metric.card for metric in each.metrics.values()}
    return [("extractor", f"{name}, weights {cards[name].weights}") for name in cards if name]


def _data(each: Measured) -> str:
    bench = each.bench
    changed = "; NOT the data of the run" if each.changed else ""
    told = (
        f"{bench.dataset.name}, {bench.split.name} split {bench.split.content}, "
        f"{len(bench.split)} images"
    )
    if bench.split.name != "test":
        return f"{told} that the search and its choices may have seen{changed}"
    before = {
        None: "nothing here tells whether it was used before",
        True: "the run had used it once before, to measure this winner",
        False: "the run had not used it",
    }[each.target.opened_test]
    return f"{told}, used here; {before}{changed}"


def _self_test(each: Measured) -> str:
    tried = each.bench.tried
    if tried is None:
        return "left out"
    return (
        f"passed: real against real {tried.near:.4g}, real against noise {tried.far:.4g} "
        f"({tried.images} real images)"
    )


def _row(metric: Metric) -> tuple[str, str, str, str]:
    from nastk.cli.execute import reading

    better, protocol = reading(metric)
    card = metric.card
    facts = [protocol]
    facts += [f"{name} {card.extra[name]}" for name in _EXTRA if name in card.extra]
    return metric.name, _value(metric), better, ", ".join(fact for fact in facts if fact)


_EXTRA = ("device", "batch", "threads", "isc_splits", "kid_subset_size", "mask_size", "self_test")
"""What of a card's further facts is shown in the table; all of them are in the JSON."""


def _value(metric: Metric) -> str:
    if metric.value is None:
        return "none"
    whole = metric.name in ("parameters", "macs", "weight_bytes")
    value = f"{metric.value:,.0f}" if whole else f"{metric.value:.5g}"
    return value if metric.spread is None else f"{value} ± {metric.spread:.2g}"


def _print_ranking(found: Sequence[Measured], ranking: Ranking) -> None:
    """Write the metrics of all targets side by side; the best is marked where they are ranked."""
    names = [name for name in found[0].metrics if name in {**ranking.order, **ranking.refused}]
    rows = [("metric", *(each.target.name for each in found), "best")]
    for name in names:
        rows.append(
            (name, *(_value(each.metrics[name]) for each in found), _best(found, ranking, name))
        )
    print_table(rows)
    click.echo()
    for name, why in ranking.refused.items():
        if not ranking.unlike:
            say(f"not ranked: {why}" if name in why else f"not ranked: {name}: {why}")


def _best(found: Sequence[Measured], ranking: Ranking, name: str) -> str:
    if name not in ranking.order:
        return "not ranked"
    if len({each.metrics[name].value for each in found}) == 1:
        return "equal"
    return "" if ranking.unlike else ranking.order[name][0]
