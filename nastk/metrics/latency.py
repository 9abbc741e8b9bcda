"""How long one forward pass takes."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.errors import ShapeError
from nastk.randomness import Randomness
from nastk.records import Metric, MetricCard


@frozen
class LatencyProtocol:
    """How latency is measured.

    Attributes:
        batch: images per pass, >= 1.
        threads: CPU threads during the measurement, >= 1; no meaning on CUDA.
        repeats: timed passes, >= 2.
        warmup: passes before, not timed.
        weights_kind: ``ema`` or ``live``, for the card.
    """

    batch: int = 1
    threads: int = 1
    repeats: int = 50
    warmup: int = 5
    weights_kind: str = ""


def measure_latency(
    network: nn.Module,
    input_shape: tuple[int, ...],
    device: torch.device | str = "cpu",
    protocol: LatencyProtocol | None = None,
) -> dict[str, Metric]:
    """Return ``latency_p50_ms`` and ``latency_p95_ms`` of one forward pass.

    The passes run in eval mode without gradients on the same normal noise; thread count and mode
    are as before afterwards. Wall-clock, hence never the same twice.

    Args:
        network: on ``device``.
        input_shape: of one input, without the batch.
        device: where the network is.
        protocol: how to measure; one image, one thread, 50 passes by default.

    Returns:
        Milliseconds per pass (not per image), lower is better. The cards hold device, batch,
        threads and passes.

    Raises:
        ShapeError: batch or threads below 1, or fewer than 2 passes.
    """
    protocol = protocol or LatencyProtocol()
    if protocol.batch < 1 or protocol.threads < 1 or protocol.repeats < 2:
        raise ShapeError(
            f"latency: got batch {protocol.batch}, threads {protocol.threads}, "
            f"{protocol.repeats} passes, expected at least 1, 1 and 2"
        )
    device = torch.device(device)
    inputs = _noise((protocol.batch, *input_shape), device)
    with evaluating(network), torch.no_grad(), _threads(protocol.threads):
        times = _times(network, inputs, device, protocol)
    card = _card(device, protocol)
    return {
        f"latency_p{p}_ms": Metric(
            f"latency_p{p}_ms", 1000 * _percentile(times, p), "minimise", card
        )
        for p in (50, 95)
    }


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put ``network`` into eval mode; each module gets its own mode back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _noise(shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.randn(shape, generator=Randomness(0).fixed("latency")).to(device)


def _times(
    network: nn.Module, inputs: Tensor, device: torch.device, protocol: LatencyProtocol
) -> list[float]:
    times = []
    for i in range(protocol.warmup + protocol.repeats):
        start = time.perf_counter()
        network(inputs)
        if device.type == "cuda":  # a CUDA call returns before its kernel has run
            torch.cuda.synchronize(device)
        if i >= protocol.warmup:
            times.append(time.perf_counter() - start)
    return times


def _percentile(times: list[float], percent: int) -> float:
    return float(torch.tensor(times, dtype=torch.float64).quantile(percent / 100))


def _card(device: torch.device, protocol: LatencyProtocol) -> MetricCard:
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else processor()
    return MetricCard(
        weights_kind=protocol.weights_kind,
        dtype="float32",
        extra={
            "device": name,
            "batch": protocol.batch,
            "threads": 0 if cuda else protocol.threads,
            "passes": protocol.repeats,
        },
    )


@lru_cache(maxsize=1)
def processor(facts: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model name of the CPU, or its architecture where the system does not tell."""
    try:
        lines = facts.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = names[0] if names else platform.processor()
    return found or platform.machine()
