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

from nastk.errors import TrialError
from nastk.nn.choice import Network
from nastk.nn.snapshot import Snapshot
from nastk.records import Architecture, Budget, Choices, Cost, Leader
from nastk.search import Search
from nastk.strategy import StepReport, Strategy
from nastk.trainer import Pair, Training
from nastk_blockwise.beam import Entry, Rated, best_distinct
from nastk_blockwise.config import StrategyConfig
from nastk_blockwise.growth import FairPaths
from nastk_blockwise.proposals import Limits, Proposals
from nastk_blockwise.rating import Rater, Rating
from nastk_blockwise.records import as_trial, pareto
from nastk_blockwise.second import DiscriminatorPhase
from nastk_blockwise.workshop import Workshop, default_discriminator, largest_state

_PLAIN = ("unit", "phase", "index", "steps", "candidates", "mutated")
_ENTRIES = ("beam", "grown", "next", "archive")


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

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; the beam holds only the empty prefix."""
        super().start(search)
        space = search.space
        self.limits = Limits(space, self.config)
        rng = search.randomness.numpy("blockwise/candidates")
        self.proposals = Proposals(space, self.limits, self.config, rng)
        self.rater = Rater(search, self.config, self.config.soft_share * self.limits.parameters)
        self.fixed_choices = default_discriminator(search)
        self.workshop = Workshop(search, self.fixed_choices)
        self.beam = [Entry({}, None)]
        self.paths = self._fresh_paths()
        self.second = DiscriminatorPhase(self)
        self.units = max(1, space.blocks)

    def state_bytes(self, search: Search) -> int:
        """Return about the bytes of the largest supernet's training, with what is beside it."""
        return largest_state(search, self.config)

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
        """Return the archive's complete architectures, best first.

        While the archive is empty: the beam's prefixes, completed as cheaply as can be.
        """
        leaders = []
        entries = self.archive or [e for e in (*self.next, *self.beam) if e.rating]
        for entry in sorted(entries, key=lambda e: e.score):
            blocks = self._blocks(entry)
            space = self.search.space
            full = space.complete(entry.choices, blocks)
            full = full or space.cheapest_completion(entry.choices, blocks)
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
            self._training = self._begin()
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
        self.queue = self.proposals.uniform(self.grown, self.unit)
        return StepReport(message or f"block {self.unit}: rating", values=values or {})

    def _begin(self) -> Training:
        """Return the training that this phase and index call for, at its start."""
        if self.phase == "train":
            parent = self.beam[self.index]
            steps = self._train_steps()
            return self.workshop.block(parent, self.unit, self.index, steps, self.paths)
        if self.phase == "finetune":
            steps = self.config.finetune_steps
            return self.workshop.survivor(self.next[self.index], self.unit, self.index, steps)
        parent_index, block = self.queue[0]
        return self.workshop.candidate(
            self.grown[parent_index], block, self.unit, self.candidates, self.config.inherit_steps
        )

    def _train_steps(self) -> int:
        warm = self.config.warm_steps if self.unit == 1 else 0
        unit = self.config.unit_steps
        if self.config.rating_mode == "inherit" and self.unit == 1:
            unit = 0
        return warm + unit

    def _advance(self, phase: str, total: int) -> dict[str, float] | None:
        """Train one chunk; return losses, or None when the pair was given up."""
        assert self._training is not None
        steps = min(self.config.steps_per_chunk, total - self.steps)
        before = self._training.cost
        try:
            progress = self._training.advance(Budget(steps)) if steps > 0 else None
        except TrialError as error:
            spent = self._training.cost - before
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
            self.queue = self.proposals.mutations(self.grown, self.unit, self.pool)
        message = f"block {self.unit}: {len(self.pool)} rated, {len(self.queue)} to go"
        if not self.queue:
            self._choose()
        best = min((r.rating.score for r in self.pool), default=None)
        return StepReport(message, values={} if best is None else {"best": best})

    def _rate_candidate(
        self, parent: int, block: dict[str, str], generator: Network, entry: Entry | None
    ) -> None:
        choices = {**self.grown[parent].choices, **block}
        generator.activate(choices)
        rating = self._rating(generator, choices, self.unit)
        self.pool.append(Rated(parent, block, rating, entry))
        self._record(choices, rating)

    def _rating(self, generator: Network, choices: Choices, blocks: int) -> Rating:
        price = self.limits.cost(choices, blocks)
        rating = self.rater.rate(generator, self._judge(), blocks, price)
        self.search.spend("rating", Cost(macs=price[1] * self.rater.images_seen(blocks)))
        return rating

    def _train_candidate(self) -> bool:
        """Inherit mode: train the next candidate a chunk further; whether it was rated."""
        parent, block = self.queue[0]
        if self._training is None:
            self._training = self._begin()
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

    def _judge(self) -> Network:
        """Return the unit's referee: the frozen discriminator of the best parent."""
        if self._referee is None:
            best = next(e for e in (*self.grown, *self.beam) if e.discriminator is not None)
            self._referee = self.workshop.referee(best, self.unit)
        return self._referee

    def _supernet(self, parent: int) -> Network:
        """Return the trained supernet of a grown entry, rebuilt after a resume."""
        if parent not in self._live:
            saved = self.grown[parent].generator
            assert saved is not None
            self._live[parent] = saved.network(self.search.space)
        return self._live[parent]

    def _record(self, choices: Choices, rating: Rating) -> None:
        """Enter a rated candidate in the run's journal."""
        full = self.search.space.complete(choices, self.unit) or choices
        images = len(self.rater.bank("validation", self.unit))
        trial = as_trial(
            self.candidates, Architecture(self.search.space.name, full), rating, self.unit, images
        )
        self.candidates += 1
        self.search.emit("trial", trial=trial, codes=self.search.space.encode(trial.architecture))

    # -- survivors -----------------------------------------------------------------------------

    def _choose(self) -> None:
        """Turn the best candidates into entries with weights of their own."""
        survivors = best_distinct(self.pool, self.beam, self.config.beam)
        self.next = [
            r.entry
            or self.workshop.derived(
                self._supernet(r.parent), self.grown[r.parent], r.block, self.unit
            )
            for r in survivors
        ]
        self.phase, self.index, self.steps = "finetune", 0, 0
        self._live = {}
        if not self.next:
            self.phase = "finish"

    def _finetune(self) -> StepReport:
        """Train all weights of one survivor, then rate it."""
        total = self.config.finetune_steps
        if self._training is None:
            self._training = self._begin()
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
        before = self._rating(network, parent.choices, self.unit - 1).score
        return (before - self.next[0].score) / abs(before)

    def _finish(self) -> StepReport:
        """Rate the archive anew by the last referee, so that its scores compare."""
        judged = []
        for entry in self.archive:
            assert entry.generator is not None
            network = entry.generator.network(self.search.space)
            blocks = self._blocks(entry)
            judged.append(entry.rated(self._rating(network, entry.choices, blocks)))
        self.archive = sorted(judged, key=lambda e: e.score)
        self.search.emit("pareto", front=pareto([e.rating for e in self.archive if e.rating]))
        self.phase = "done"
        if self.config.discriminator_phase and self.archive:
            self.phase = "discriminator"
        return StepReport(f"archive of {len(self.archive)}, best {self._best():.4f}")

    # -- small things --------------------------------------------------------------------------

    def _blocks(self, entry: Entry) -> int:
        assert entry.generator is not None
        return entry.generator.blocks or self.units

    def _complete(self, choices: Choices) -> bool:
        full = self.search.space.complete(choices, self.unit)
        return full is not None and self.limits.fit(full)

    def _best(self) -> float:
        return min((e.score for e in (*self.archive, *self.next, *self.beam)), default=float("inf"))

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
        state: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        for name in _ENTRIES:
            state[name] = [e.state_dict() for e in getattr(self, name)]
        return {
            **state,
            "queue": [[parent, block] for parent, block in self.queue],
            "pool": [r.state_dict() for r in self.pool],
            "paths": self.paths.state_dict(),
            "training": self._training and self._training.state_dict(),
            "second": self.second.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        for name in _ENTRIES:
            setattr(self, name, [Entry.from_state(e) for e in state[name]])
        self.queue = [(parent, dict(block)) for parent, block in state["queue"]]
        self.pool = [Rated.from_state(r) for r in state["pool"]]
        self.paths = self._fresh_paths()
        self.paths.load_state_dict(state["paths"])
        self._live, self._referee, self._training = {}, None, None
        if state["training"] is not None:
            self._training = self._begin()
            self._training.load_state_dict(state["training"])
        self.second.load_state_dict(state["second"])
