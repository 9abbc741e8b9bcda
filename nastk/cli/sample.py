"""``nastk sample``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import App, say, verbosity
from nastk.errors import ConfigError

_EXAMPLES = """\b
Examples:
  nastk sample runs/blockwise-stasgan-digits-0 -o samples.png
  nastk sample runs/mine -n 1000 --folder samples --seed 1
"""
DEFAULT = "samples.png"
MOST = 50_000


@click.command("sample", epilog=_EXAMPLES)
@click.argument("run")
@click.option("-n", "--number", type=click.IntRange(1, MOST), metavar="N", help="images  [64]")
@click.option("-o", "--output", metavar="FILE", help=f"sheet of all images, PNG  [{DEFAULT}]")
@click.option("--folder", metavar="DIR", help="new folder for each image as a PNG of its own")
@click.option("--per-class", is_flag=True, help="a row a class, as the discriminator sees them")
@click.option("--interpolate", is_flag=True, help="rows of 8 between two random latents")
@click.option("--seed", type=int, default=0, metavar="N", help="decides every draw  [0]")
@click.option("--device", default="auto", metavar="TEXT", help="auto, cpu, cuda or cuda:N  [auto]")
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    run: str,
    number: int | None,
    output: str | None,
    folder: str | None,
    per_class: bool,
    interpolate: bool,
    seed: int,
    device: str,
) -> None:
    """Draw images from the generator of a finished run, a checkpoint or an exported file.

    Generators that complete images get test images of the run's data set; the sheet shows what
    they saw, made and should have made, the folder what they made.
    """
    from nastk.device import choose_device, use_threads
    from nastk.finished.exported import open_generator
    from nastk.finished.sampling import STEPS, by_class, sample, save_samples
    from nastk.finished.sampling import interpolate as between

    if per_class and interpolate:
        raise ConfigError("--per-class and --interpolate: got both, expected at most one")
    registry = ctx.ensure_object(App).registry
    n = number or 64
    winner = open_generator(run, registry)
    device, _ = choose_device(device)
    use_threads(1)  # sums split over threads round differently
    if interpolate:
        samples = between(winner, max(1, n // STEPS), seed, device)
    else:
        draw = by_class if per_class else sample
        samples = draw(winner, registry, n, seed, device)
    sheet = Path(output or DEFAULT) if output or not folder else None
    written = save_samples(samples, sheet, Path(folder) if folder else None)
    if samples.remark:
        say(samples.remark)
    for path in written:
        click.echo(str(path))
