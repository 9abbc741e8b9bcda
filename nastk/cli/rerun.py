"""``nastk rerun``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import App, json_option, print_json, print_table, say, verbosity
from nastk.records import to_json

_EXAMPLES = """\b
Examples:
  nastk rerun comparison.zip --row tpe
  nastk rerun comparison.zip --row 3 --broad
"""


@click.command("rerun", epilog=_EXAMPLES)
@click.argument("bundle")
@click.option("--row", default="", metavar="ROW", help="label or number  [the first contestant]")
@click.option("--broad", is_flag=True, help="new seeds: does the verdict hold?")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), default=2,
              help="cells at a time  [2]")  # fmt: skip
@click.option("--out", default="", metavar="TEXT", help="folder  [runs/rerun-ROW-HASH]")
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    bundle: str,
    row: str,
    broad: bool,
    workers: int,
    out: str,
    as_json: bool,
) -> int:
    """Run a row of a comparison again, from its bundle alone.

    With the same seeds every number must be the same to the last bit (on a CPU, with the same
    versions). With --broad as many new seeds are run, baselines too, and the verdict must be the
    same. Ends with 1 where it is not.
    """
    from nastk.cli.interrupts import interrupts
    from nastk.comparing.bundle import read_bundle
    from nastk.comparing.repeating import pick, repeat
    from nastk.engine import StopRequest

    app = ctx.ensure_object(App)
    found = read_bundle(Path(bundle))
    label = pick(found.plan, row)[1].label
    kind = "broad" if broad else "exact"
    folder = Path(out) if out else Path("runs", f"rerun-{label}-{kind}-{found.hash[:6]}")
    stop = StopRequest()
    with interrupts(stop.set) as signal:
        done = repeat(found, row, folder, app.registry, broad=broad, workers=workers,
                      tell=say if app.level >= 0 else lambda _: None, stop=stop)  # fmt: skip
    if stop.is_set():
        say("interrupted; the same command continues")
        return signal.code
    if as_json:
        print_json("rerun", to_json(done))
    else:
        print_table([(f"{done.table}/{done.row}", line) for line in done.lines])
        click.echo("reproduced" if done.same else "not reproduced")
    return 0 if done.same else 1
