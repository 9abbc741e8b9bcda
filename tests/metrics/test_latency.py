from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nastk.errors import ShapeError
from nastk.metrics.latency import LatencyProtocol, evaluating, measure_latency, processor


class Spy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], int, bool]] = []
        self.child = nn.Identity().eval()

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.seen.append((tuple(x.shape), torch.get_num_threads(), self.training))
        return x


def test_passes_run_with_the_batch_threads_and_mode_of_the_protocol() -> None:
    network, before = Spy(), torch.get_num_threads()
    threads = before + 1
    measure_latency(network, (2, 3), protocol=LatencyProtocol(4, threads, repeats=3, warmup=2))
    assert network.seen == [((4, 2, 3), threads, False)] * 5
    assert torch.get_num_threads() == before
    assert network.training
    assert not network.child.training


def test_threads_and_mode_come_back_when_the_network_fails() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    network, before = Broken(), torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no"):
        measure_latency(network, (1,), protocol=LatencyProtocol(threads=before + 1))
    assert torch.get_num_threads() == before
    assert network.training


def test_numbers_are_milliseconds_in_order_with_device_and_settings_on_the_card() -> None:
    metrics = measure_latency(nn.Linear(4, 4), (4,), protocol=LatencyProtocol(repeats=10))
    p50, p95 = metrics["latency_p50_ms"], metrics["latency_p95_ms"]
    assert p50.value is not None
    assert p95.value is not None
    assert 0 < p50.value <= p95.value
    assert p50.direction == "minimise"
    assert p50.card.extra["device"]
    expected = {"batch": 1, "threads": 1, "passes": 10}
    assert {k: p50.card.extra[k] for k in expected} == expected


def test_a_protocol_that_measures_nothing_is_refused() -> None:
    with pytest.raises(ShapeError, match="1 passes"):
        measure_latency(nn.Identity(), (1,), protocol=LatencyProtocol(repeats=1))


def test_each_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with evaluating(network):
        assert not any(m.training for m in network.modules())
    assert [m.training for m in network.modules()] == [True, True, False]


def test_the_card_names_the_model_of_the_processor_where_the_system_tells(tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor : 0\nmodel name\t: Swift 9\nmodel name\t: Swift 9\n")
    assert processor(facts) == "Swift 9"
    assert processor(tmp_path / "none")
