"""The controller: an LSTM that writes the decisions of one block, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.records import Choices, Decision

Hidden = tuple[Tensor, Tensor]
"""State of the LSTM: two tensors ``(1, width)``."""


@frozen(eq=False)
class Draw:
    """Options for one block, as the controller drew them.

    Attributes:
        choices: decision → option, of active decisions only.
        log_probability: scalar, sum over the decisions drawn.
        entropies: ``(n,)`` nats, one per decision drawn; n may be 0.
        logs_of_options: for each of them, the logarithm of its number of options.
        hidden: state after the last decision, ``(1, width)`` each, detached.
    """

    choices: Choices
    log_probability: Tensor
    entropies: Tensor
    logs_of_options: tuple[float, ...]
    hidden: Hidden

    @property
    def uncertainty(self) -> float:
        """Entropy as a share of the largest possible, 0 to 1."""
        most = sum(self.logs_of_options)
        return float(self.entropies.detach().sum()) / most if most else 0.0


class Controller(nn.Module):
    """An LSTM cell with one embedding table and one linear decoder per decision.

    A decision's probabilities are the softmax of its decoder; the embedding of what was drawn is
    the next input, the first input is zero. Decisions with one open option take no step.

    Source: X. Gong et al. 2019 (arXiv:1908.03835) and its public code. Differs: decisions that
    earlier ones switch off are left out, so that it can write any space's blocks.

    Args:
        decisions: of one block, in order.
        width: of the LSTM and of the embeddings.
        implied: names of decisions that are made elsewhere (the depth); conditions on them hold.
    """

    def __init__(
        self, decisions: Sequence[Decision], width: int, implied: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self.decisions = tuple(decisions)
        self._implied = implied
        sizes = [len(d.allowed) for d in self.decisions if len(d.allowed) > 1]
        self.cell = nn.LSTMCell(width, width)
        self.embedding = nn.Embedding(max(1, sum(sizes)), width)
        self.decoders = nn.ModuleList(nn.Linear(width, n) for n in sizes)
        self.width = width

    @property
    def steps(self) -> int:
        """Decisions that are open."""
        return len(self.decoders)

    def start(self) -> Hidden:
        """Return the zero state, ``(1, width)`` each."""
        return torch.zeros(1, self.width), torch.zeros(1, self.width)

    def draw(self, prefix: Choices, hidden: Hidden, rng: np.random.Generator) -> Draw:
        """Return drawn options behind ``prefix``; advances ``rng`` once per open decision.

        Args:
            prefix: choices of the blocks before.
            hidden: where the LSTM starts, ``(1, width)`` each.
            rng: a stream of the run.
        """
        choices, x = dict(prefix), torch.zeros(1, self.width)
        drawn: dict[str, str] = {}
        logs: list[Tensor] = []
        entropies: list[Tensor] = []
        sizes: list[float] = []
        step, offset = 0, 0
        for decision in self.decisions:
            n = len(decision.allowed)
            active = self.active(decision, choices)
            option = decision.allowed[0]
            if active and n > 1:
                hidden = self.cell(x, hidden)
                log_p = self.decoders[step](hidden[0])[0].log_softmax(0)
                index = _draw(log_p, rng)
                logs.append(log_p[index])
                entropies.append(-(log_p.exp() * log_p).sum())
                sizes.append(float(np.log(n)))
                x = self.embedding(torch.tensor([offset + index]))
                option = decision.allowed[index]
            if active:
                choices[decision.name] = drawn[decision.name] = option
            if n > 1:
                step, offset = step + 1, offset + n
        total = torch.stack(logs).sum() if logs else torch.zeros(())
        each = torch.stack(entropies) if entropies else torch.zeros(0)
        end = (hidden[0].detach(), hidden[1].detach())
        return Draw(drawn, total, each, tuple(sizes), end)

    def active(self, decision: Decision, choices: Choices) -> bool:
        """Return whether earlier choices leave a decision any effect."""
        if not decision.when:
            return True
        return any(
            all(n in self._implied or choices.get(n) in options for n, options in clause.items())
            for clause in decision.when
        )


def _draw(log_probabilities: Tensor, rng: np.random.Generator) -> int:
    """Return an index drawn by its probability; one number of ``rng``."""
    edges = np.cumsum(log_probabilities.detach().double().exp().numpy())
    return int(
        np.searchsorted(edges, rng.random() * edges[-1], side="right").clip(0, len(edges) - 1)
    )
