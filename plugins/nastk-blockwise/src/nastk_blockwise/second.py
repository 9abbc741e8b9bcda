"""The optional second phase: search the discriminator with the found generator fixed.

Each candidate discriminator trains from scratch beside the frozen winner and is rated by the
cross-entropy of its class head on the labelled validation images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from nastk.dataset import HIDDEN
from nastk.errors import TrialError
from nastk.nn.choice import Network
from nastk.objective import as_scores
from nastk.records import Budget
from nastk.strategy import StepReport
from nastk.trainer import Pair, Plan
from nastk_blockwise.rating import BATCH

if TYPE_CHECKING:
    from nastk_blockwise.strategy import BlockwiseStrategy


class DiscriminatorPhase:
    """Draws discriminators, later mutates the best, and keeps the best; one candidate a step.

    Args:
        strategy: the owner, whose archive holds the generator.
    """

    def __init__(self, strategy: BlockwiseStrategy) -> None:
        self._owner = strategy
        self.tried: list[tuple[float, dict[str, str]]] = []

    @property
    def choices(self) -> dict[str, str]:
        """The best discriminator so far, empty before the first."""
        finite = [t for t in self.tried if t[0] < float("inf")]
        return dict(min(finite, key=lambda t: t[0])[1]) if finite else {}

    def step(self) -> StepReport:
        """Train and rate one discriminator."""
        config = self._owner.config
        decisions = [d for d in self._owner.search.space.decisions if d.role == "discriminator"]
        if not decisions:
            self._owner.phase = "done"
            return StepReport("the space's discriminator has no decisions: second phase skipped")
        choices = self._propose()
        loss, accuracy = self._try(choices)
        self.tried.append((loss, choices))
        if len(self.tried) >= config.discriminator_candidates:
            self._owner.phase = "done"
        message = f"discriminator {len(self.tried)}/{config.discriminator_candidates}"
        message += f": validation accuracy {100 * accuracy:.1f} %"
        return StepReport(message, values={"class_loss": loss, "class_accuracy": accuracy})

    def _propose(self) -> dict[str, str]:
        owner = self._owner
        rng = owner.search.randomness.numpy("blockwise/second")
        space = owner.search.space
        if len(self.tried) < owner.config.discriminator_candidates // 2 or not self.choices:
            drawn = space.sample(rng)
        else:
            generator = {d.name: (d.allowed[0],) for d in space.decisions if d.role == "generator"}
            narrowed = space.restrict(generator)
            whole = {**narrowed.sample(rng).choices, **self.choices}
            drawn = narrowed.mutate(narrowed.architecture(whole), rng)
        return {n: o for n, o in drawn.choices.items() if space.decision(n).role == "discriminator"}

    def _try(self, choices: dict[str, str]) -> tuple[float, float]:
        """Return validation class loss and accuracy; infinite loss for a failure."""
        owner = self._owner
        best = owner.archive[0]
        assert best.generator is not None
        name = f"blockwise/second{len(self.tried)}"
        randomness = owner.search.randomness.child(name)
        discriminator = owner.workshop.build(
            "discriminator", choices, randomness, best.generator.blocks
        )
        generator = best.generator.network(owner.search.space)
        plan = Plan("discriminator", train_generator=False, ema=False)
        pair = Pair(generator, discriminator, owner.search.space, best.generator.blocks)
        training = owner.search.trainer.begin(pair, plan, randomness)
        try:
            training.advance(Budget(owner.config.discriminator_steps))
        except TrialError as error:
            owner.search.emit("failure", phase="discriminator", reason=str(error))
            return float("inf"), 0.0
        finally:
            owner.search.spend("discriminator", training.cost)
        return self._judge(discriminator, best.generator.blocks or owner.units)

    @torch.no_grad()
    def _judge(self, discriminator: Network, blocks: int) -> tuple[float, float]:
        bank = self._owner.rater.bank("validation", blocks)
        discriminator.eval()
        classes = self._owner.search.task.classes
        loss, right, total = 0.0, 0, 0
        for part in bank.parts(BATCH):
            logits = as_scores(discriminator(part.images)).classes
            known = part.labels != HIDDEN
            if logits is None or not bool(known.any()):
                return float("inf"), 0.0
            wanted = part.labels[known]
            said = logits[known][:, :classes]
            loss += float(F.cross_entropy(said, wanted, reduction="sum"))
            right += int((said.argmax(1) == wanted).sum())
            total += len(wanted)
        return loss / total, right / total

    def state_dict(self) -> dict[str, Any]:
        """Return the discriminators tried."""
        return {"tried": [[loss if loss < float("inf") else None, c] for loss, c in self.tried]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.tried = [
            (float("inf") if loss is None else loss, dict(choices))
            for loss, choices in state["tried"]
        ]
