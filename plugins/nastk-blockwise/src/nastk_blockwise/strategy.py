"""The blockwise strategy: grow a generator block by block, with a beam.

Each unit of the search does, for every beam entry: grow the entry's generator by an open block
without changing its function; train that block along random paths against the entry's own
discriminator; rate candidates for it by one frozen referee; then fine-tune the best and decide
whether the growth paid. Every phase advances in chunks of seconds, and all of it can be saved.

Source: the idea of M. Zhang et al., Pattern Recognition 2021; the procedure is our reconstruction,
since no search code was published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import asdict

from nastk.errors import TrialError
from nastk.nn.choice import Network
from nastk.nn.inspect import cost
from nastk.nn.snapshot import Snapshot
from nastk.nn.transfer import Transferred, transfer
from nastk.records import (
    Architecture,
    Budget,
    Choices,
    Cost,
    Evaluation,
    Leader,
    Metric,
    MetricCard,
    Role,
    Trial,
)
from nastk.search import Search
from nastk.strategy import StepReport, Strategy
from nastk.trainer import Pair, Plan, Training
from nastk_blockwise.beam import Entry, Rated, best_distinct
from nastk_blockwise.config import StrategyConfig
from nastk_blockwise.growth import (
    FairPaths,
    block_candidates,
    draw_block,
    mutate_block,
    trainable,
)
from nastk_blockwise.rating import Rater, Rating
from nastk_blockwise.second import DiscriminatorPhase


class BlockwiseStrategy(Strategy):
    """Grows any space's generator by its blocks; works with any objective and input.

    Args:
        config: sizes of every phase.
    """

    name = "blockwise"

    def __init__(self, config: StrategyConfig) -> None:
        self.config = config
        self.unit = 1
        self.phase = "train"
        self.index = 0
        self.steps = 0
        self.candidates = 0
        self.beam: list[Entry] = []
        self.grown: list[Entry] = []
        self.queue: list[tuple[int, dict[str, str]]] = []
        self.mutated = False
        self.pool: list[Rated] = []
        self.next: list[Entry] = []
        self.archive: list[Entry] = []
        self._training: Training | None = None
        self._live: dict[int, Network] = {}
        self._referee: Network | None = None
        self._costs: dict[tuple[tuple[str, str], ...], tuple[int, int]] = {}

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; the beam holds only the empty prefix."""
        super().start(search)
        space = search.space
        self.limits = self._limits()
        self.rater = Rater(search, self.config, self.config.soft_share * self.limits[0])
        self.fixed_choices = _default_discriminator(search)
        self.beam = [Entry({}, None)]
        self.paths = self._fresh_paths()
        self.second = DiscriminatorPhase(self)
        self.units = max(1, space.blocks)

    def unsupported(self, search: Search) -> str:
        """Return why this space or trainer cannot be searched, else empty."""
        if not hasattr(search.trainer, "config"):
            return f"trainer '{search.trainer.name}' does not show its masks and batch size"
        return ""

    def step(self) -> StepReport:
        """Do one chunk of the current phase."""
        phases: dict[str, Callable[[], StepReport]] = {
            "train": self._train,
            "rate": self._rate,
            "finetune": self._finetune,
            "decide": self._decide,
            "finish": self._finish,
            "discriminator": self.second.step,
        }
        unit, phase = self.unit, self.phase
        report = phases[phase]()
        report.milestone = report.milestone or (self.unit, self.phase) != (unit, phase)
        report.done = self.phase == "done"
        report.share = 1.0 if report.done else self._share()
        return report

    def leaders(self) -> list[Leader]:
        """Return the archive's complete architectures, best first."""
        leaders = []
        for entry in sorted(self.archive, key=lambda e: e.score):
            full = self.search.space.complete(entry.choices, len_blocks(self, entry))
            assert full is not None
            assert entry.rating is not None
            choices = {**self.fixed_choices, **full, **self.second.choices}
            rating = entry.rating
            objectives = {
                "rating": rating.quality,
                "parameters": float(rating.parameters),
                "macs": float(rating.macs),
            }
            architecture = self.search.space.architecture(choices)
            leaders.append(Leader(architecture, rating.score, objectives))
        return leaders

    def pictures(self) -> Any:
        """Return images of the best generator at hand, or of the one in training."""
        best = min((*self.next, *self.beam), key=lambda e: e.score)
        if best.generator is not None and self.phase != "train":
            network = best.generator.network(self.search.space)
            return self.rater.samples(network, best.generator.blocks or 0, 64)
        if self._training is None:
            return None
        return self.rater.samples(self._training.pair.generator, self.unit, 64)

    # -- training a block ----------------------------------------------------------------------

    def _train(self) -> StepReport:
        """Train the open block of one beam entry along random paths."""
        total = self._train_steps()
        if self.config.rating_mode == "inherit" and self.unit > 1:
            self.grown = [Entry(e.choices, e.discriminator, e.generator) for e in self.beam]
            return self._to_rating()
        if self._training is None:
            self._training = self._begin_block(self.index)
        phase = "warm" if self.unit == 1 and self.steps < self.config.warm_steps else "block"
        message = f"block {self.unit}: training {self.steps}/{total}, entry {self.index + 1}"
        message += f"/{len(self.beam)}"
        values = self._advance(phase, total)
        if values is not None and self.steps < total:
            return StepReport(message, values=values)
        if values is not None:
            self.grown.append(self._snapshot(self.beam[self.index].choices, self._training.pair))
        else:
            self.grown.append(Entry(self.beam[self.index].choices, None))
        self._training, self.steps = None, 0
        self.index += 1
        if self.index < len(self.beam):
            return StepReport(message, values=values or {}, milestone=True)
        return self._to_rating(message, values)

    def _to_rating(self, message: str = "", values: Any = None) -> StepReport:
        self.phase, self.index, self.steps = "rate", 0, 0
        self.pool, self.mutated = [], False
        self.queue = self._uniform_candidates()
        if all(e.discriminator is None for e in self.grown):
            self.queue = []
        return StepReport(message or f"block {self.unit}: rating", values=values or {})

    def _train_steps(self) -> int:
        warm = self.config.warm_steps if self.unit == 1 else 0
        unit = self.config.unit_steps
        if self.config.rating_mode == "inherit" and self.unit == 1:
            unit = 0
        return warm + unit

    def _begin_block(self, index: int) -> Training:
        """Return the training of beam entry ``index``'s generator with the next block open."""
        parent = self.beam[index]
        randomness = self.search.randomness.child(f"blockwise/block{self.unit}/{index}")
        generator = self.build("generator", parent.choices, randomness, self.unit)
        discriminator = self._discriminator(parent, randomness)
        predicate = None
        if parent.generator is not None:
            inherited = self._inherit(parent.generator, generator)
            predicate = trainable(generator, inherited, self.search.space.head)
        plan = Plan(
            phase=f"block{self.unit}",
            horizon=self._train_steps(),
            path=lambda step: generator.activate(self.paths.draw()),
            trainable=predicate,
        )
        pair = Pair(generator, discriminator, self.search.space, self.unit)
        return self.search.trainer.begin(pair, plan, randomness)

    def _inherit(self, parent: Snapshot, generator: Network) -> Transferred:
        return transfer(parent.network(self.search.space), generator)

    def _discriminator(self, parent: Entry, randomness: Any) -> Network:
        """Return D for the current block with what the parent's D has learned."""
        network = self.build("discriminator", self.fixed_choices, randomness, self.unit)
        if parent.discriminator is not None:
            self._load(parent.discriminator, network, randomness)
        return network

    def _load(self, saved: Snapshot, network: Network, randomness: Any) -> None:
        if saved.blocks == self.unit:
            saved.network(self.search.space, like=network)
            return
        old = self.build("discriminator", self.fixed_choices, randomness, saved.blocks)
        transfer(saved.network(self.search.space, like=old), network)

    def build(self, role: Role, choices: Choices, randomness: Any, blocks: int | None) -> Network:
        """Return a fresh network of a prefix, on the device."""
        return self.search.trainer.build(self.search.space, role, choices, randomness, blocks)

    def _advance(self, phase: str, total: int) -> dict[str, float] | None:
        """Train one chunk; return losses, or None when the pair was given up."""
        assert self._training is not None
        steps = min(self.config.steps_per_chunk, total - self.steps)
        before = self._training.cost
        try:
            progress = self._training.advance(Budget(steps)) if steps > 0 else None
        except TrialError as error:
            spent = _difference(self._training.cost, before)
            self.search.ledger.enter(phase, spent, failed=True)
            self.search.emit("failure", phase=phase, unit=self.unit, reason=str(error))
            return None
        self.steps += steps
        if progress is None:
            return {}
        self.search.spend(phase, progress.cost)
        return dict(progress.losses)

    def _snapshot(self, choices: Choices, pair: Pair) -> Entry:
        return Entry(
            dict(choices),
            Snapshot.take(pair.discriminator, pair.blocks),
            Snapshot.take(pair.generator, pair.blocks),
        )

    # -- rating --------------------------------------------------------------------------------

    def _rate(self) -> StepReport:
        """Rate some candidates; when none is left, choose the survivors."""
        rated = 0
        while self.queue and rated < self.config.ratings_per_chunk:
            if self.config.rating_mode == "inherit":
                if not self._train_candidate():
                    break
            else:
                parent, block = self.queue.pop(0)
                self._rate_candidate(parent, block, self._supernet(parent), None)
            rated += 1
        if not self.queue and not self.mutated:
            self.mutated = True
            self.queue = self._mutations()
        message = f"block {self.unit}: {len(self.pool)} rated, {len(self.queue)} to go"
        if not self.queue:
            self._choose()
        best = min((r.rating.score for r in self.pool), default=None)
        return StepReport(message, values={} if best is None else {"best": best})

    def _uniform_candidates(self) -> list[tuple[int, dict[str, str]]]:
        """Return the block's candidates within the limits: all of a small block, else draws."""
        space, block = self.search.space, self.unit - 1
        rng = self.search.randomness.numpy("blockwise/candidates")
        small = 1
        for decision in space.block(block):
            small *= len(decision.allowed)
        wanted = self.config.rate_first if self.unit == 1 else self.config.rate_uniform
        queue: list[tuple[int, dict[str, str]]] = []
        for parent, entry in enumerate(self.grown):
            if entry.discriminator is None:
                continue
            if small <= wanted:
                options = list(block_candidates(space, block))
            else:
                options = [draw_block(space, entry.choices, block, rng) for _ in range(wanted)]
            queue += [(parent, o) for o in options if self._admitted(entry, o, queue, parent)]
        return queue

    def _mutations(self) -> list[tuple[int, dict[str, str]]]:
        """Return mutations of each parent's best candidate so far."""
        rng = self.search.randomness.numpy("blockwise/candidates")
        known = [(r.parent, r.block) for r in self.pool]
        queue: list[tuple[int, dict[str, str]]] = []
        for parent, entry in enumerate(self.grown):
            mine = [r for r in self.pool if r.parent == parent]
            if not mine or self.unit == 1:
                continue
            best = min(mine, key=lambda r: r.rating.score)
            for _ in range(self.config.rate_mutations):
                mutant = mutate_block(self.search.space, entry.choices, best.block, rng)
                if self._admitted(entry, mutant, known + queue, parent):
                    queue.append((parent, mutant))
        return queue

    def _admitted(self, entry: Entry, block: dict[str, str], known: list[Any], parent: int) -> bool:
        """Whether a candidate is new, valid, and its cheapest completion within the limits."""
        choices = {**entry.choices, **block}
        if (parent, block) in known or self.search.space.problems(choices):
            return False
        full = self.search.space.cheapest_completion(choices, self.unit)
        parameters, macs = self._cost(full, None)
        most_parameters, most_macs = self.limits
        return (not most_parameters or parameters <= most_parameters) and (
            not most_macs or macs <= most_macs
        )

    def _rate_candidate(
        self, parent: int, block: dict[str, str], generator: Network, entry: Entry | None
    ) -> None:
        choices = {**self.grown[parent].choices, **block}
        generator.activate(choices)
        rating = self._rating(generator, choices, self.unit)
        self.pool.append(Rated(parent, block, rating, entry))
        self._record(choices, rating)

    def _rating(self, generator: Network, choices: Choices, blocks: int) -> Rating:
        price = self._cost(choices, blocks)
        rating = self.rater.rate(generator, self._judge(), blocks, price)
        self.search.spend("rating", Cost(macs=price[1] * self.rater.images_seen(blocks)))
        return rating

    def _train_candidate(self) -> bool:
        """Inherit mode: train the next candidate a chunk further; whether it was rated."""
        parent, block = self.queue[0]
        if self._training is None:
            self._training = self._begin_candidate(parent, block)
        alive = self._advance("candidates", self.config.inherit_steps) is not None
        if alive and self.steps < self.config.inherit_steps:
            return False
        self.queue.pop(0)
        if alive:
            pair = self._training.pair
            entry = self._snapshot({**self.grown[parent].choices, **block}, pair)
            self._rate_candidate(parent, block, pair.generator, entry)
            self._forget_losers()
        self._training, self.steps = None, 0
        return True

    def _forget_losers(self) -> None:
        """Keep weights only of candidates that can still survive."""
        keep = {id(r) for r in best_distinct(self.pool, self.beam, self.config.beam)}
        for rated in self.pool:
            if id(rated) not in keep:
                rated.entry = None

    def _begin_candidate(self, parent: int, block: dict[str, str]) -> Training:
        entry = self.grown[parent]
        name = f"blockwise/candidate{self.candidates}"
        randomness = self.search.randomness.child(name)
        choices = {**entry.choices, **block}
        generator = self.build("generator", choices, randomness, self.unit)
        discriminator = self._discriminator(entry, randomness)
        predicate = None
        if entry.generator is not None:
            inherited = self._inherit(entry.generator, generator)
            if self.unit > 1:
                predicate = trainable(generator, inherited, self.search.space.head)
        plan = Plan("candidates", horizon=self.config.inherit_steps, trainable=predicate)
        pair = Pair(generator, discriminator, self.search.space, self.unit)
        return self.search.trainer.begin(pair, plan, randomness)

    def _judge(self) -> Network:
        """Return the unit's referee: the frozen discriminator of the best parent."""
        if self._referee is None:
            best = next(e for e in self.grown if e.discriminator is not None)
            randomness = self.search.randomness.child("blockwise/referee")
            self._referee = self._discriminator(best, randomness).eval()
            self._referee.requires_grad_(False)
        return self._referee

    def _supernet(self, parent: int) -> Network:
        """Return the trained supernet of a grown entry, rebuilt after a resume."""
        if parent not in self._live:
            saved = self.grown[parent].generator
            assert saved is not None
            self._live[parent] = saved.network(self.search.space)
        return self._live[parent]

    def _record(self, choices: Choices, rating: Rating) -> None:
        space = self.search.space
        full = space.complete(choices, self.unit) or choices
        card = MetricCard(
            n_fake=len(self.rater.bank("validation", self.unit)),
            split="validation",
            weights_kind="live",
            extra={"referee": f"discriminator of block {self.unit}", "blocks": self.unit},
        )
        metrics = {
            name: Metric(name, _finite(value), "minimise", card)
            for name, value in asdict(rating).items()
        }
        status = "ok" if metrics["score"].value is not None else "diverged"
        evaluation = Evaluation(metrics, group=f"block{self.unit}")
        trial = Trial(
            self.candidates, Architecture(space.name, full), status, Cost(), None,  # type: ignore[arg-type]
            evaluation if status == "ok" else None,
        )  # fmt: skip
        self.candidates += 1
        self.search.emit("trial", trial=trial, codes=space.encode(trial.architecture))

    # -- survivors -----------------------------------------------------------------------------

    def _choose(self) -> None:
        """Turn the best candidates into entries with weights of their own."""
        survivors = best_distinct(self.pool, self.beam, self.config.beam)
        self.next = [r.entry or self._inherited(r) for r in survivors]
        self.phase, self.index, self.steps = "finetune", 0, 0
        self._live = {}
        if not self.next:
            self.phase = "finish"

    def _inherited(self, rated: Rated) -> Entry:
        """Return the candidate's derived network with the supernet's weights."""
        parent = self.grown[rated.parent]
        choices = {**parent.choices, **rated.block}
        supernet = self._supernet(rated.parent)
        supernet.activate(choices)
        randomness = self.search.randomness.child("blockwise/derive")
        derived = self.build("generator", choices, randomness, self.unit)
        transfer(supernet, derived)
        return Entry(choices, parent.discriminator, Snapshot.take(derived, self.unit))

    def _finetune(self) -> StepReport:
        """Train all weights of one survivor, then rate it."""
        total = self.config.finetune_steps
        if self._training is None:
            self._training = self._begin_survivor(self.index)
        message = f"block {self.unit}: fine-tuning survivor {self.index + 1}/{len(self.next)}"
        values = self._advance("finetune", total)
        if values is not None and self.steps < total:
            return StepReport(message, values=values)
        if values is None:
            del self.next[self.index]
        else:
            pair = self._training.pair
            entry = self._snapshot(self.next[self.index].choices, pair)
            rating = self._rating(pair.generator, entry.choices, self.unit)
            self.next[self.index] = entry.rated(rating)
            self.index += 1
        self._training, self.steps = None, 0
        if self.index >= len(self.next):
            self.phase = "decide"
        return StepReport(message, values=values or {}, milestone=True)

    def _begin_survivor(self, index: int) -> Training:
        entry = self.next[index]
        assert entry.generator is not None
        randomness = self.search.randomness.child(f"blockwise/finetune{self.unit}/{index}")
        generator = entry.generator.network(self.search.space)
        pair = Pair(generator, self._discriminator(entry, randomness), self.search.space, self.unit)
        plan = Plan("finetune", horizon=max(1, self.config.finetune_steps))
        return self.search.trainer.begin(pair, plan, randomness)

    def _decide(self) -> StepReport:
        """Archive the survivors and grow further, unless the last growth did not pay."""
        self.next.sort(key=lambda e: e.score)
        complete = [e for e in self.next if self._complete(e.choices)]
        self.archive += complete
        gain = self._gain()
        last = self.unit == self.units
        message = f"block {self.unit}: best {self._best():.4f}"
        if gain is not None:
            message += f", {100 * gain:+.1f} % against its parent"
        if last or not self.next or (gain is not None and gain < self.config.delta):
            self.phase = "finish"
        else:
            self._grow()
        values = {"best": self._best()} | ({} if gain is None else {"gain": gain})
        return StepReport(message, values=values)

    def _grow(self) -> None:
        self.beam, self.next, self.grown, self.pool = self.next, [], [], []
        self.unit += 1
        self.phase, self.index, self.steps = "train", 0, 0
        self._referee = None
        self.paths = self._fresh_paths()

    def _gain(self) -> float | None:
        """Return the relative gain of the best survivor over the best parent, by one referee."""
        space, parent = self.search.space, self.beam[0]
        same_size = self.unit > 1 and (
            space.prefix_task(self.unit - 1).image == space.prefix_task(self.unit).image
        )
        if not same_size or not self.next or parent.generator is None:
            return None
        network = parent.generator.network(space)
        price = self._cost(parent.choices, self.unit - 1)
        before = self.rater.rate(network, self._judge(), self.unit - 1, price).score
        return (before - self.next[0].score) / abs(before)

    def _finish(self) -> StepReport:
        """Rate the archive anew by the last referee, so that its scores compare."""
        judged = []
        for entry in self.archive:
            assert entry.generator is not None
            network = entry.generator.network(self.search.space)
            blocks = len_blocks(self, entry)
            judged.append(entry.rated(self._rating(network, entry.choices, blocks)))
        self.archive = sorted(judged, key=lambda e: e.score)
        self.search.emit("pareto", front=self._pareto())
        self.phase = "done"
        if self.config.discriminator_phase and self.archive:
            self.phase = "discriminator"
        return StepReport(f"archive of {len(self.archive)}, best {self._best():.4f}")

    def _pareto(self) -> list[dict[str, float]]:
        """Return rating, parameters and MACs of the archive's non-dominated entries."""
        points = [
            (e.rating.quality, e.rating.parameters, e.rating.macs) for e in self.archive if e.rating
        ]
        front = [
            p for p in points
            if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)
        ]  # fmt: skip
        names = ("rating", "parameters", "macs")
        return [dict(zip(names, map(float, p), strict=True)) for p in sorted(set(front))]

    # -- small things --------------------------------------------------------------------------

    def _complete(self, choices: Choices) -> bool:
        full = self.search.space.complete(choices, self.unit)
        if full is None:
            return False
        parameters, macs = self._cost(full, None)
        return (not self.limits[0] or parameters <= self.limits[0]) and (
            not self.limits[1] or macs <= self.limits[1]
        )

    def _best(self) -> float:
        return min((e.score for e in (*self.archive, *self.next, *self.beam)), default=float("inf"))

    def _cost(self, choices: Choices, blocks: int | None) -> tuple[int, int]:
        key = (*sorted(choices.items()), ("blocks", str(blocks)))
        if key not in self._costs:
            self._costs[key] = cost(self.search.space, choices, blocks)
        return self._costs[key]

    def _limits(self) -> tuple[int, int]:
        """Return the hard limits: as configured, else the space's reference architecture."""
        given = (self.config.max_parameters, self.config.max_macs)
        reference = self.search.space.reference() if None in given else None
        known = self._cost(reference, None) if reference else (0, 0)
        return (
            known[0] if given[0] is None else given[0],
            known[1] if given[1] is None else given[1],
        )

    def _fresh_paths(self) -> FairPaths:
        decisions = self.search.space.block(self.unit - 1)
        return FairPaths(decisions, self.search.randomness.numpy("blockwise/paths"))

    def _share(self) -> float:
        """Return the share of the longest possible search that is done."""
        within = {"train": 0.0, "rate": 0.6, "finetune": 0.8, "decide": 0.95}.get(self.phase, 1.0)
        return min(0.99, (self.unit - 1 + within) / self.units)

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes; a training under way is saved whole."""
        return {
            "unit": self.unit,
            "phase": self.phase,
            "index": self.index,
            "steps": self.steps,
            "candidates": self.candidates,
            "mutated": self.mutated,
            "queue": [[parent, block] for parent, block in self.queue],
            "beam": [e.state_dict() for e in self.beam],
            "grown": [e.state_dict() for e in self.grown],
            "pool": [r.state_dict() for r in self.pool],
            "next": [e.state_dict() for e in self.next],
            "archive": [e.state_dict() for e in self.archive],
            "paths": self.paths.state_dict(),
            "training": self._training and self._training.state_dict(),
            "second": self.second.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name in ("unit", "phase", "index", "steps", "candidates", "mutated"):
            setattr(self, name, state[name])
        self.queue = [(parent, dict(block)) for parent, block in state["queue"]]
        for name in ("beam", "grown", "next", "archive"):
            setattr(self, name, [Entry.from_state(e) for e in state[name]])
        self.pool = [Rated.from_state(r) for r in state["pool"]]
        self.paths = self._fresh_paths()
        self.paths.load_state_dict(state["paths"])
        self._live, self._referee, self._training = {}, None, None
        if state["training"] is not None:
            begin = {"train": self._begin_block, "finetune": self._begin_survivor}
            if self.phase == "rate":
                self._training = self._begin_candidate(*self.queue[0])
            else:
                self._training = begin[self.phase](self.index)
            self._training.load_state_dict(state["training"])
        self.second.load_state_dict(state["second"])


def len_blocks(strategy: BlockwiseStrategy, entry: Entry) -> int:
    """Return the number of blocks of a beam entry."""
    assert entry.generator is not None
    return entry.generator.blocks or strategy.units


def _default_discriminator(search: Search) -> dict[str, str]:
    """Return choices for the decisions of D while G is searched: drawn once from the seed."""
    decisions = [d for d in search.space.decisions if d.role == "discriminator"]
    if not decisions:
        return {}
    rng = search.randomness.child("blockwise/discriminator").numpy("draw")
    drawn = search.space.sample(rng).choices
    return {d.name: drawn[d.name] for d in decisions if d.name in drawn}


def _difference(after: Cost, before: Cost) -> Cost:
    return Cost(
        after.steps - before.steps,
        after.images - before.images,
        after.macs - before.macs,
        after.seconds - before.seconds,
    )


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None
