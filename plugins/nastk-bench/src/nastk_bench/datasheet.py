"""The datasheet of a table, as Markdown: how it was made, what it can tell, and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk_bench.statistics import (
    between_seeds,
    effects,
    kendall,
    of_fidelities,
    rank_agreement,
    reliability,
    spreads,
)
from nastk_bench.table import STATUSES, Table

BEST = 5
QUANTILES = (0, 10, 25, 50, 75, 90, 100)


def datasheet(table: Table, zero_cost: Mapping[str, NDArray[np.float64]] | None = None) -> str:
    """Return the page.

    Args:
        table: described.
        zero_cost: score → ``(M,)`` in the table's order; None: the section is left out.
    """
    parts = [_head(table), _making(table), _counts(table), _noise(table), _fidelities(table)]
    parts += [_effects(table), _distribution(table), _best(table)]
    parts += [_zero_cost(table, zero_cost)] if zero_cost else []
    return "\n\n".join([*parts, _limits(table)]) + "\n"


def _head(table: Table) -> str:
    return f"""# {table.protocol.name}

<!-- written by 'nastk bench datasheet' from the table; change neither by hand -->

A tabulated benchmark for the architecture search of GANs: every member of a small space of
generators *and* discriminators was trained {table.seeds} times and measured at
{len(table.protocol.fidelities)} fidelities. Content `{table.hash}`, protocol
`{table.protocol.hash}`."""


def _making(table: Table) -> str:
    protocol, card = table.protocol, table.cards["validation"]["log_fd"]
    test = table.cards["test"]["log_fd"]
    said = ", ".join(f"`{k}={v}`" for k, v in sorted(protocol.trainer.items()))
    versions = ", ".join(f"{k} {v}" for k, v in sorted(table.versions.items()) if v)
    total = float(table.seconds[:, :, -1].sum() + table.measuring.sum())
    return f"""## How it was made

* Data: scikit-learn's handwritten digits, {protocol.dataset["image_size"]}x\
{protocol.dataset["image_size"]} grey, split with seed {protocol.dataset_seed}; content \
`{card.data}` (validation), `{test.data}` (test).
* Training: {protocol.steps} generator updates, {protocol.objective} loss, {said}; the rest as \
`nastk describe trainer gan` says.
* Measurement: {card.n_fake} images of the averaged generator against {card.n_real} validation \
images, and after the whole training against {test.n_real} test images too; features of \
`{card.extractor}` (`{card.weights}`). `log_fd` is the logarithm of the Fréchet distance in them. \
It is no FID.
* Cost: {total / 60:.0f} CPU minutes of one thread. `nastk bench build` repeats it, \
`nastk bench pack` makes the table.
* Software: {versions}."""


def _counts(table: Table) -> str:
    genotypes = sum(1 for _ in table.space.genotypes())
    failed = table.status[:, :, -1]
    kinds = ", ".join(
        f"{int((failed == i).sum())} {name}"
        for i, name in enumerate(STATUSES)
        if (failed == i).any()
    )
    rows = [
        (f"`{d.name}`", d.role, ", ".join(d.options), _condition(d.when))
        for d in table.space.decisions
    ]
    return f"""## Members

{genotypes:,} genotypes, {len(table.codes)} distinct networks. An edge that is *none* makes its
neighbours meaningless; without any path to the image no decision of the generator matters. Equal
networks have one canonical form and one row. Trainings: {kinds}.

{_markdown(("decision", "of", "options", "only where"), rows)}"""


def _condition(when: Sequence[Mapping[str, tuple[str, ...]]]) -> str:
    clauses = (" and ".join(f"`{n}` is {' or '.join(o)}" for n, o in c.items()) for c in when)
    return ", or ".join(clauses)


def _noise(table: Table) -> str:
    scores = table.scores()
    within, between = spreads(scores)
    test = kendall(scores.mean(1), table.scores(split="test").mean(1))
    rows = [(str(n), f"{reliability(scores, n):.2f}") for n in (1, 2, 3, 5)]
    return f"""## Noise ceiling

Kendall's τ between two seeds: **{between_seeds(scores):.2f}**. No search that looks at one
training of a candidate can rank better than that. Standard deviation of `log_fd` between seeds of
a member {within:.2f}, between members {between:.2f}. τ between validation and test (means over
seeds): {test:.2f}. Share of the variance of a mean that is not noise:

{_markdown(("seeds", "reliability"), rows)}"""


def _fidelities(table: Table) -> str:
    rows = [(str(steps), f"{tau:.2f}") for steps, tau in of_fidelities(table)]
    return f"""## Fidelities

τ of one seed after so many steps with the mean of the other seeds after {table.protocol.steps}:

{_markdown(("steps", "τ"), rows)}"""


def _effects(table: Table) -> str:
    rows = [
        (
            f"`{e.decision}`",
            e.option or "(inactive)",
            str(e.members),
            f"{e.mean:.2f}",
            f"{e.failed:.0%}",
        )
        for e in effects(table)
    ]
    return f"""## Marginal effects

Mean `log_fd` over all members with an option; less is better.

{_markdown(("decision", "option", "members", "mean log FD", "failed"), rows)}"""


def _distribution(table: Table) -> str:
    rows = []
    for name in ("log_fd", "extractor_kid", "precision", "recall"):
        means = table.scores(name).mean(1)
        known = means[~np.isnan(means)]
        rows.append((name, *(f"{np.percentile(known, q):.2f}" for q in QUANTILES)))
    return f"""## Distribution

Percentiles of the members' means over seeds, on validation, after {table.protocol.steps} steps:

{_markdown(("metric", *map(str, QUANTILES)), rows)}"""


def _best(table: Table) -> str:
    validation, test = table.scores().mean(1), table.scores(split="test").mean(1)
    order = np.argsort(validation)[:BEST]  # NaN last
    rows = [
        (
            f"`{table.codes[i]}`",
            f"{validation[i]:.2f}",
            f"{test[i]:.2f}",
            f"{table.parameters[i]:,}",
            f"{table.macs[i]:,}",
        )
        for i in order
    ]
    head = ("codes", "log FD (validation)", "log FD (test)", "parameters of G", "MACs of G")
    return f"""## Best members

{_markdown(head, rows)}"""


def _zero_cost(table: Table, scores: Mapping[str, NDArray[np.float64]]) -> str:
    from nastk_bench.config import SCORES

    final = table.scores().mean(1)
    # Members that nothing can train would be told apart by any score.
    alive = ~np.isnan(final)
    rows = []
    for name, values in scores.items():
        sign = 1.0 if SCORES[name] == "minimise" else -1.0
        tau = rank_agreement(sign * values[alive], final[alive])
        rows.append((f"`{name}`", SCORES[name], str(tau)))
    return f"""## Zero-cost scores

τ of scores of untrained networks with the mean `log_fd` after training, among the
{int(alive.sum())} members that train with every seed; above 0 where the score points the way that
is expected of it. Intervals are 95 % bootstrap intervals over members.

{_markdown(("score", "expected better when", "τ [95 %]"), rows)}"""


def _limits(table: Table) -> str:
    return f"""## Known limits

* Tiny networks, tiny grey images, {table.protocol.steps} steps: what wins here need not win at
  any other size. Compare searches on it, not architectures.
* {table.seeds} seeds. Searches see the first ones, final trainings the last, so that the
  training a winner is judged by was never chosen among.
* Fidelities are those above and no others; nothing is interpolated between them.
* No weights are kept. Supernets, inherited weights and growing cannot be tabulated: such
  strategies search the space live (`--preset protocol`), and their answer can be looked up.
* Seconds are CPU seconds of a busy machine, of training alone. Steps, images and MACs are exact.
* One data split and one extractor for all; a run's own seed moves neither."""


def _markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
