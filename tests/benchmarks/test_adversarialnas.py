"""The published iteration, written out op by op, is the reference of what nastk computes."""

from __future__ import annotations

from benchmarks import adversarialnas


def test_merged_iterations_compute_what_the_published_ones_do() -> None:
    found = adversarialnas.deviation((4, 4, 4), "merged", 2)
    assert found["losses"] < 1e-6  # recorded in float32
    assert found["choices"] < 1e-12
    assert found["weights"] < 1e-12
