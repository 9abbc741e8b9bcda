"""Times, memory and exponents: the measuring functions, by clocks and functions that are known."""

import importlib
import math
import subprocess
import sys

import pytest

from benchmarks import measure
from benchmarks.measure import fitted, machine, memory, paired, shown


class Clock:
    """A clock that moves only when work is done."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def work(self, name, *seconds):
        """Return work of that name that takes the given seconds at each run, the last for ever."""
        left = list(seconds)

        def run():
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def __call__(self):
        return self.now


def test_ratio_is_the_first_ways_time_over_each_ways():
    clock = Clock()
    found = paired({"plain": clock.work("p", 6.0), "fast": clock.work("f", 2.0)}, 3, clock=clock)
    assert found["plain"] == {"seconds": 6.0, "ratio": [1.0, 1.0, 1.0]}
    assert found["fast"] == {"seconds": 2.0, "ratio": [3.0, 3.0, 3.0]}


def test_ratios_compare_runs_of_one_round_and_the_warm_up_counts_for_nothing():
    clock = Clock()
    ways = {"plain": clock.work("p", 99, 2, 4, 9), "fast": clock.work("f", 50, 1, 4, 3)}
    assert paired(ways, 3, clock=clock)["fast"] == {"seconds": 3.0, "ratio": [2.0, 1.0, 3.0]}


def test_every_way_is_the_first_of_a_round_in_turn():
    clock = Clock()
    paired({name: clock.work(name, 1.0) for name in "abc"}, 4, clock=clock)
    assert "".join(clock.order) == "abc" + "abc" + "bca" + "cab" + "abc"


@pytest.mark.parametrize(("ways", "rounds"), [({}, 1), ({"a": print}, 0)])
def test_nothing_to_measure_is_refused(ways, rounds):
    with pytest.raises(ValueError, match="expected at least one"):
        paired(ways, rounds)


def test_cpu_time_counts_children_that_ended(monkeypatch):
    before = measure.cpu_seconds()
    spent = measure.os.times()
    monkeypatch.setattr(
        measure.os,
        "times",
        lambda: type(spent)((0, 0, spent.children_user + 50, spent.children_system + 20, 0)),
    )
    assert 70 <= measure.cpu_seconds() - before < 75


def test_ratio_is_shown_with_its_range():
    assert shown([2.314, 2.25, 2.4]) == "2.31 × [2.25–2.40]"
    assert shown([21.04, 19.6, 23.0]) == "21.0 × [19.6–23.0]"


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power_law_is_found(exponent):
    x = [8, 16, 32, 64]
    assert math.isclose(fitted(x, [3.0 * v**exponent for v in x]), exponent, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [1, 0]), ([1, 2], [1])]
)
def test_values_without_an_exponent_are_refused(x, y):
    with pytest.raises(ValueError, match="positive values at different x"):
        fitted(x, y)


PROBE = """
import os, time

def burns(seconds):
    def work():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
    return work


def dies():
    return lambda: os._exit(7)


def allocate(count, wasted):
    bytearray(wasted)
    return lambda: len(bytes(bytearray(count)))


def fails():
    raise RuntimeError("no such width")
"""
SIZE = 64 * 2**20


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """A module of work that a fresh process can import too."""
    (tmp_path / "memory_probe.py").write_text(PROBE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield importlib.import_module("memory_probe")
    del sys.modules["memory_probe"]


def test_memory_is_the_peak_of_the_work_alone(probe):
    # Twice the size for a moment; what was held and given back before does not count.
    assert 1.9 * SIZE < memory(probe.allocate, SIZE, 4 * SIZE) < 2.2 * SIZE
    assert memory(probe.allocate, 0, 4 * SIZE) < SIZE / 8


def test_ways_in_processes_of_their_own_are_compared_by_what_they_spend_there(probe):
    found = measure.apart(probe.burns, {"long": (0.2,), "short": (0.05,)}, 1)
    assert found["long"]["seconds"] == pytest.approx(0.2, rel=0.2)
    assert found["short"]["ratio"][0] == pytest.approx(4.0, rel=0.3)


def test_way_whose_process_dies_is_an_error_and_leaves_none_behind(probe):
    with pytest.raises(RuntimeError, match="ended with 7"):
        measure.apart(probe.dies, {"one": (), "other": ()}, 1)
    running = subprocess.run(
        ["pgrep", "-f", "memory_probe.*dies"], capture_output=True, check=False
    )
    assert running.stdout == b""


def test_memory_of_work_that_fails_says_why(probe):
    with pytest.raises(RuntimeError, match="no such width"):
        memory(probe.fails)


def test_memory_of_a_local_function_is_refused():
    with pytest.raises(ValueError, match="top-level"):
        memory(lambda: print)


def test_machine_says_what_a_number_must_be_read_with():
    found = machine()
    assert {"cpu", "flags", "cores", "ram_gib", "python", "torch", "threads"} <= set(found)
    assert found["cores"] >= 1
    assert set(found["flags"]) <= set(measure.FLAGS)
