"""The autogan strategy: a controller per block, shared weights, growth with a beam.

A stage is one block of the space. Its iterations train the shared networks along paths that the
controller draws, and then the controller by the rewards of what it draws. At the end of a stage
the controller proposes architectures, and the best go on to the next block, each with the
controller's state after its last decision.

Source: X. Gong, S. Chang, Y. Jiang, Z. Wang, ICCV 2019 (arXiv:1908.03835) and its public code; the
plugin's README says how each of that code's quirks is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nastk.errors import NastkError, TrialError
from nastk.nn.inspect import training_bytes
from nastk.records import Choices, Leader
from nastk.search import Search
from nastk.strategy import StepReport, Strategy
from nastk_autogan.beam import Survivor, best
from nastk_autogan.blocks import codes, draw_valid, implied, stages
from nastk_autogan.config import StrategyConfig
from nastk_autogan.controller import Controller, Draw
from nastk_autogan.reinforce import Reinforce
from nastk_autogan.rewards import Rewards
from nastk_autogan.sampling import AT_ONCE, Drawn, Parent, Paths, draw_many_valid
from nastk_autogan.shared import Shared, discriminator_choices

PROPOSAL_ATTEMPTS = 20
"""Draws per wanted candidate; a controller that is sure of itself proposes fewer distinct ones."""


class AutoganStrategy(Strategy):
    """Searches any space's generator block by block; the discriminator is not searched.

    Args:
        config: schedule, controller and beam.
    """

    name = "autogan"

    def __init__(self, config: StrategyConfig) -> None:
        self.config = config
        self.stage = 0
        self.iteration = 0
        self.phase = "shared"
        self.progress = 0
        self.broken = ""
        self.resets = 0
        self.beam: list[Survivor] = []
        self.proposed: list[Survivor] = []
        self.recent: list[Survivor] = []
        self.finished: list[tuple[int, Survivor]] = []

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; the controller of the first block is made."""
        super().start(search)
        self.stages = stages(search.space)
        self.rewards = Rewards(search, self.config.reward, self.config.recalibrate_batches)
        self.paths = Paths(search.space, self._draw_paths)
        self.shared = Shared(search, self.config, self.paths.next)
        self._new_controller()

    def state_bytes(self, search: Search) -> int:
        """Return the bytes of the last stage's networks, which are the largest."""
        fixed = discriminator_choices(search)
        return training_bytes(search.space, {}, fixed, averaged=False)

    def unsupported(self, search: Search) -> str:
        """Return why this evaluator cannot reward, or this space not be grown; else empty."""
        if not search.evaluator.builds:
            return f"evaluator '{search.evaluator.name}' scores no networks, rewards need them"
        if self.config.reward not in search.evaluator.metrics:
            known = ", ".join(sorted(search.evaluator.metrics))
            return f"reward '{self.config.reward}' is no metric of the evaluator, expected {known}"
        stages(search.space)
        return ""

    def step(self) -> StepReport:
        """Do one chunk of the current phase."""
        phases: dict[str, Callable[[], StepReport]] = {
            "shared": self._train_shared,
            "controller": self._train_controller,
            "propose": self._score_proposals,
        }
        stage = self.stage
        report = phases[self.phase]()
        report.done = self.phase == "done"
        report.milestone = report.done or stage != self.stage
        report.share = 1.0 if report.done else self._share()
        return report

    def leaders(self) -> list[Leader]:
        """Return the final beam, best first.

        A search that ends early answers with the best paths that it knows: scored ones of the
        last stage, else survivors of an earlier stage, completed as cheaply as the space can.
        """
        blocks, known = self._known()
        entries = [(blocks, s) for s in known]
        if self.phase == "done":
            entries = [*((blocks, s) for s in self.beam), *self.finished]
            entries.sort(key=lambda e: -e[1].score)
        leaders: dict[str, Leader] = {}
        for n, survivor in entries:
            leader = self._leader(survivor, n)
            leaders.setdefault(leader.architecture.fingerprint, leader)
        return list(leaders.values())

    def pictures(self) -> Any:
        """Return images of the best path of the current networks."""
        blocks, known = self._known()
        choices = known[0].choices if known and blocks == self.shared.blocks else {}
        return self.shared.pictures(choices)

    # -- shared networks -----------------------------------------------------------------------

    def _train_shared(self) -> StepReport:
        """Train the shared networks for a chunk; a collapse ends the phase."""
        if not self.shared.blocks:
            self.shared.build(1)
        steps, total = self.config.steps_per_chunk, self._shared_total()
        if self.config.shared_steps:
            steps = min(steps, total - self.progress)
        values: dict[str, float] = {}
        try:
            done = self.shared.advance(steps)
            self.progress += done.cost.steps if self.config.shared_steps else done.cost.images
            values = {**done.losses, **done.health}
        except TrialError as error:
            self._note_reset(error)
        message = self._message(f"networks {min(self.progress, total)}/{total}")
        if self.broken or self.progress >= total:
            self._enter_controller_phase()
        return StepReport(message, values={**values, "resets": float(self.resets)})

    def _shared_total(self) -> int:
        """Return the length of a phase, in generator updates or in real images."""
        if self.config.shared_steps:
            return self.config.shared_steps
        return max(1, round(self.config.shared_epochs * len(self.search.dataset.split("train"))))

    def _note_reset(self, error: TrialError) -> None:
        self.broken = error.status
        self.resets += 1
        self.search.emit("reset", blocks=self.shared.blocks, reason=error.message)
        if self.resets > self.config.max_resets:
            raise NastkError(
                f"strategy 'autogan': the shared networks had to start anew {self.resets} times, "
                f"the last time because {error.message}",
                "strategy.reset_threshold=0 switches the test of the losses off, "
                "strategy.max_resets bears more",
            )

    def _draw_paths(self) -> Drawn:
        """Return what the controller draws for the coming batches."""
        rng = self.search.randomness.numpy("autogan/policy")
        parents = [Parent(s.choices, s.hidden) for s in self.beam]
        parents = parents or [Parent({}, self.controller.start())]
        of = rng.integers(len(parents), size=AT_ONCE)
        return draw_many_valid(self.controller, self.search.space, parents, of, rng)

    # -- controller ----------------------------------------------------------------------------

    def _new_controller(self) -> None:
        space, name = self.search.space, f"autogan/controller{self.stage}"
        with self.search.randomness.child(name).scoped("init"):
            self.controller = Controller(
                space.block(self.stage), self.config.controller_width, implied(space)
            )
        self.learner = Reinforce(self.controller, self.config)

    def _draw(self) -> tuple[Draw, dict[str, str]]:
        """Return a draw of the controller behind a parent drawn from the beam."""
        rng = self.search.randomness.numpy("autogan/policy")
        prefix: Choices = {}
        hidden = self.controller.start()
        if self.beam:
            parent = self.beam[int(rng.integers(len(self.beam)))]
            prefix, hidden = parent.choices, parent.hidden
        return draw_valid(self.controller, self.search.space, prefix, hidden, rng)

    def _enter_controller_phase(self) -> None:
        self.phase, self.progress = "controller", 0
        self.paths.forget()
        self.rewards.forget()
        self.recent = []
        if self.config.baseline == "phase":
            self.learner.forget()
        skipped = self.broken == "diverged" or (
            bool(self.broken) and not self.config.controller_after_reset
        )
        if skipped or not self.controller.steps:
            self._end_iteration()

    def _train_controller(self) -> StepReport:
        """Update the controller a few times."""
        n = self.config.controller_batch
        left = self.config.controller_steps - self.progress
        values: list[dict[str, float]] = []
        for _ in range(min(left, max(1, self.config.rewards_per_chunk // n))):
            drawn = [self._draw() for _ in range(n)]
            rewards = [self._reward(draw, choices) for draw, choices in drawn]
            draws = [draw for draw, _ in drawn]
            loss = self.learner.update(draws, rewards)
            entropy = sum(d.uncertainty for d in draws) / n
            values.append({"reward": sum(rewards) / n, "entropy": entropy, "loss": loss})
        self.progress += len(values)
        message = self._message(f"controller {self.progress}/{self.config.controller_steps}")
        told = {key: sum(v[key] for v in values) / len(values) for key in values[0]}
        told["best"] = self.recent[0].score
        if self.progress >= self.config.controller_steps:
            self._end_iteration()
        return StepReport(message, values=told)

    def _reward(self, draw: Draw, choices: Choices) -> float:
        reward = self.rewards(self.shared.generator, choices, self.shared.blocks)
        if all(s.choices != choices for s in self.recent):
            known = [*self.recent, Survivor(choices, draw.hidden, reward)]
            self.recent = best(known, self.config.beam)
        return self.rewards.finite(reward)

    def _end_iteration(self) -> None:
        """Go on to the next iteration, or to the end of the stage.

        A stage does not end on networks that have just started anew: its last iteration is done
        again.
        """
        last = self.iteration + 1 >= self._iterations(self.stage)
        if not (self.broken and last):
            self.iteration += 1
        if self.broken:
            self.shared.build(self.stage + 1)
            self.rewards.forget()
            self.broken, self.recent = "", []
        self.phase, self.progress = "shared", 0
        if self.iteration >= self._iterations(self.stage):
            self.phase = "propose"
            self.proposed = self._propose()

    # -- growth --------------------------------------------------------------------------------

    def _propose(self) -> list[Survivor]:
        """Return what the controller proposes at the end of a stage, not yet scored."""
        proposed: list[Survivor] = []
        attempts = PROPOSAL_ATTEMPTS if self.config.distinct else 1
        for _ in range(self.config.candidates * attempts):
            draw, choices = self._draw()
            known = self.config.distinct and any(s.choices == choices for s in proposed)
            if not known and len(proposed) < self.config.candidates:
                proposed.append(Survivor(choices, draw.hidden))
        return proposed

    def _score_proposals(self) -> StepReport:
        """Score some proposals; when none is left, the best survive."""
        waiting = [s for s in self.proposed if s.reward is None]
        for survivor in waiting[: self.config.rewards_per_chunk]:
            survivor.reward = self.rewards(
                self.shared.generator, survivor.choices, self.shared.blocks
            )
        scored = len([s for s in self.proposed if s.reward is not None])
        top = best(self.proposed, 1)[0].score
        message = self._message(f"proposals {scored}/{len(self.proposed)}")
        if scored == len(self.proposed):
            self._select()
        return StepReport(message, values={"best": top})

    def _select(self) -> None:
        space, blocks = self.search.space, self.stage + 1
        self.beam = best(self.proposed, self.config.beam)
        told = [{"codes": codes(space, s.choices), "reward": s.score} for s in self.beam]
        self.search.emit("survivors", blocks=blocks, survivors=told)
        if blocks == self.stages:
            self.phase = "done"
            return
        whole = space.prefix_task(blocks).image == space.task.image
        if whole and space.complete(self.beam[0].choices, blocks) is not None:
            self.finished += [(blocks, s) for s in self.beam]
        self.stage, self.iteration, self.phase = blocks, 0, "shared"
        self.proposed, self.recent = [], []
        self.shared.grow()
        self.rewards.forget()
        self._new_controller()

    # -- small things --------------------------------------------------------------------------

    def _known(self) -> tuple[int, list[Survivor]]:
        """Return blocks and best paths: scored ones of this stage, else the last survivors."""
        scored = [s for s in self.proposed if s.reward is not None]
        paths = best([*scored, *self.recent], self.config.beam)
        return (self.stage + 1, paths) if paths else (self.stage, self.beam)

    def _leader(self, survivor: Survivor, blocks: int) -> Leader:
        space = self.search.space
        full = space.complete(survivor.choices, blocks)
        exact = full is not None and math.isfinite(survivor.score)
        if full is None:
            full = space.cheapest_completion(survivor.choices, blocks)
        choices = {**full, **self.shared.discriminator_choices}
        score = survivor.reward if exact else None
        objectives = {} if score is None else {self.config.reward: score}
        return Leader(space.architecture(choices), score, objectives)

    def _iterations(self, stage: int) -> int:
        numbers = self.config.stage_iterations
        return numbers[min(stage, len(numbers) - 1)]

    def _share(self) -> float:
        """Return the share of all iterations that is done."""
        each = [self._iterations(stage) for stage in range(self.stages)]
        within = {"shared": 0.0, "controller": 0.7}.get(self.phase, 0.0)
        return min(0.99, (sum(each[: self.stage]) + self.iteration + within) / sum(each))

    def _message(self, what: str) -> str:
        total = self._iterations(self.stage)
        now = min(self.iteration + 1, total)
        return f"block {self.stage + 1}/{self.stages}, iteration {now}/{total}: {what}"

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes; phases under way are saved as they stand."""
        controller = self.controller.state_dict().items()
        return {
            "stage": self.stage,
            "iteration": self.iteration,
            "phase": self.phase,
            "progress": self.progress,
            "broken": self.broken,
            "resets": self.resets,
            "beam": [s.state_dict() for s in self.beam],
            "proposed": [s.state_dict() for s in self.proposed],
            "recent": [s.state_dict() for s in self.recent],
            "finished": [[n, s.state_dict()] for n, s in self.finished],
            "controller": {name: tensor.detach().clone() for name, tensor in controller},
            "learner": self.learner.state_dict(),
            "paths": self.paths.state_dict(),
            "rewards": self.rewards.state_dict(),
            "shared": self.shared.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name in ("stage", "iteration", "phase", "progress", "broken", "resets"):
            setattr(self, name, state[name])
        for name in ("beam", "proposed", "recent"):
            setattr(self, name, [Survivor.from_state(s) for s in state[name]])
        self.finished = [(int(n), Survivor.from_state(s)) for n, s in state["finished"]]
        self._new_controller()
        self.controller.load_state_dict(state["controller"])
        self.learner.load_state_dict(state["learner"])
        self.paths.load_state_dict(state["paths"])
        self.rewards.load_state_dict(state["rewards"])
        self.shared.load_state_dict(state["shared"])
