from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nastk.events import FanOut, make_event, plain
from nastk.records import Cost


class Listener:
    def __init__(self) -> None:
        self.heard: list[Mapping[str, Any]] = []

    def emit(self, event: Mapping[str, Any]) -> None:
        self.heard.append(event)


class Broken:
    calls = 0

    def emit(self, event: Mapping[str, Any]) -> None:
        self.calls += 1
        raise OSError("the pipe\nis gone")


def test_a_failing_sink_is_reported_once_and_the_others_hear_everything() -> None:
    first, broken, last = Listener(), Broken(), Listener()
    fan = FanOut([first, broken, last])
    for step in range(3):
        fan.emit(make_event("step", step, Cost(), {}))
    assert broken.calls == 1
    for listener in (first, last):
        assert [e["type"] for e in listener.heard].count("step") == 3
        warnings = [e["message"] for e in listener.heard if e["type"] == "warning"]
        assert warnings == ["event sink Broken failed and is left out: OSError: the pipe is gone"]


def test_only_failing_sinks_do_not_recurse_forever() -> None:
    fan = FanOut([Broken(), Broken()])
    fan.emit({"type": "step"})
    assert fan.sinks == []


def test_events_are_strict_json_whatever_the_values() -> None:
    values = {
        "a": math.nan, "b": np.float32(0.5), "c": torch.tensor([1, 2]), "d": (1, {2: math.inf}),
        "e": object, "f": np.int64(3),
    }  # fmt: skip
    event = make_event("step", 1, Cost(1, 2, 3, 4.0), values)
    back = json.loads(json.dumps(event, allow_nan=False))
    assert (back["a"], back["b"], back["c"], back["d"], back["f"]) == (
        None, 0.5, [1, 2], [1, {"2": None}], 3,
    )  # fmt: skip
    assert back["spent"] == {"steps": 1, "images": 2, "macs": 3}


def test_what_varies_between_equal_runs_is_under_time_only() -> None:
    one = make_event("step", 1, Cost(seconds=1.0), {"x": 1})
    two = make_event("step", 1, Cost(seconds=2.0), {"x": 1})
    assert one != two
    del one["time"], two["time"]
    assert one == two


def test_plain_keeps_big_integers() -> None:
    assert plain(2**100) == 2**100
