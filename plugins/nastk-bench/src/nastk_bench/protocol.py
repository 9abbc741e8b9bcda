"""The protocol of the table: data, training and measurement, as pure data with a hash.

Imports no torch; :func:`workshop` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.errors import ConfigError
from nastk.records import Task, digest, from_json, to_json

if TYPE_CHECKING:
    from nastk.data.memory import InMemoryDataset
    from nastk.dataset import Split
    from nastk.gan.trainer import GanTrainer
    from nastk.metrics.evaluator import StandardEvaluator
    from nastk_bench.space import NanoSpace

NAME = "nano-v1"
"""Of the benchmark; another protocol is another benchmark."""

MEASURED = ("log_fd", "extractor_kid", "precision", "recall")
"""Metrics of every point of the table, in the order of its columns."""


@frozen
class Protocol:
    """All that the numbers of the table depend on, software aside.

    Attributes:
        name: of the benchmark.
        space: settings of the space.
        dataset: settings of the data set ``digits``.
        dataset_seed: of its splits, the same for all trainings.
        trainer: settings of the trainer ``gan`` that differ from its own.
        evaluator: settings of the evaluator ``standard`` that differ from its own.
        objective: name of the adversarial losses.
        fidelities: generator updates after which a training is measured, ascending: the whole, its
            halves and its thirds, so that both factors of successive halving find their rungs.
    """

    name: str = NAME
    space: Mapping[str, Any] = field(factory=dict)
    dataset: Mapping[str, Any] = field(factory=lambda: {"image_size": 8})
    dataset_seed: int = 0
    trainer: Mapping[str, Any] = field(
        factory=lambda: {
            "g_lr": 0.006,
            "d_lr": 0.006,
            "batch_size": 64,
            "health_every": 12,
            "health_warmup": 36,
            "health_window": 3,
        }
    )
    evaluator: Mapping[str, Any] = field(
        factory=lambda: {
            "samples": 500,
            "kid_subsets": 10,
            "metrics": ["log_fd", "extractor_kid", "precision", "recall", "parameters", "macs"],
        }
    )
    objective: str = "hinge"
    fidelities: tuple[int, ...] = (12, 27, 36, 54, 108)

    @property
    def hash(self) -> str:
        """Twelve hex digits; equal protocols have equal hashes."""
        return digest(to_json(self))[:12]

    @property
    def steps(self) -> int:
        """Generator updates of a whole training."""
        return self.fidelities[-1]


def read_protocol(document: Any) -> Protocol:
    """Return the protocol that JSON data describe.

    Raises:
        ConfigError: a field is missing, unknown or of the wrong type, or fidelities do not rise.
    """
    try:
        protocol: Protocol = from_json(Protocol, document)
    except Exception as error:
        raise ConfigError(f"protocol of a benchmark: {error}") from None
    steps = protocol.fidelities
    if not steps or steps[0] < 1 or sorted(set(steps)) != list(steps):
        raise ConfigError(f"protocol: got fidelities {list(steps)}, expected rising numbers >= 1")
    return protocol


def nano_space(protocol: Protocol | None = None, classes: int = 10) -> NanoSpace:
    """Return the space of the protocol, whole."""
    from nastk_bench.config import SpaceConfig
    from nastk_bench.space import NanoSpace

    protocol = protocol or Protocol()
    side = int(protocol.dataset["image_size"])
    config = SpaceConfig(**protocol.space)
    return NanoSpace(config, task=Task(image=(1, side, side), classes=classes))


@frozen
class Workshop:
    """Everything that trains and measures members.

    Attributes:
        protocol: what it was made by.
        space: whole.
        dataset: its splits.
        trainer: on the CPU.
        evaluator: on the CPU.
        test: the test split, opened once.
    """

    protocol: Protocol
    space: NanoSpace
    dataset: InMemoryDataset
    trainer: GanTrainer
    evaluator: StandardEvaluator
    test: Split


def workshop(protocol: Protocol) -> Workshop:
    """Return the parts that the protocol names, on the CPU.

    Raises:
        UserError: a setting that a part does not have.
    """
    from nastk.data.config import DigitsConfig
    from nastk.data.digits import digits
    from nastk.gan import objectives
    from nastk.gan.config import TrainerConfig
    from nastk.gan.trainer import GanTrainer
    from nastk.metrics.config import EvaluatorConfig
    from nastk.metrics.evaluator import StandardEvaluator

    if protocol.objective != "hinge":
        raise ConfigError(f"protocol: got objective '{protocol.objective}', expected hinge")
    try:
        data = DigitsConfig(**protocol.dataset)
        training = TrainerConfig(**protocol.trainer)
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list | tuple) else v for k, v in protocol.evaluator.items()
        }
        measuring = EvaluatorConfig(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"protocol: {error.args[0]}") from None
    dataset = digits(data, seed=protocol.dataset_seed, device="cpu")
    return Workshop(
        protocol,
        nano_space(protocol, dataset.classes),
        dataset,
        GanTrainer(training, dataset=dataset, objective=objectives.Hinge()),
        StandardEvaluator(measuring, dataset=dataset),
        dataset.split("test", "cpu"),
    )
