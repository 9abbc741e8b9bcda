"""Quality against cost: only what is comparable stands together."""

import pytest

from nastk.report.scatter import MAX_POINTS, Cloud, ordered, plots
from nastk.report.story import card_facts


def record(number, quality, parameters, group="", card=None, direction="minimise", **more):
    metrics = {
        "score": {"value": quality, "direction": direction, "card": card or {}},
        "parameters": {"value": parameters, "direction": "minimise", "card": {}},
    }
    told = {"metrics": metrics, "group": group}
    return {"number": number, "status": "ok", "codes": str(number), "fingerprint": f"f{number}",
            "evaluation": told, **more}  # fmt: skip


def cloud_of(*records, training=""):
    cloud = Cloud()
    for each in records:
        cloud.take(each, card_facts, training)
    return cloud


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_front_is_what_no_other_beats_in_both(direction):
    sign = 1 if direction == "minimise" else -1
    points = [(1, 5.0, 10), (2, 3.0, 20), (3, 4.0, 30), (4, 1.0, 40), (5, 1.0, 50), (6, 9.0, 10)]
    made = [record(n, sign * q, p, direction=direction) for n, q, p in points]
    [plot] = plots(cloud_of(*made), [], "f4")
    front = {dot.words.split(":")[0] for dot in plot.dots if dot.front}
    assert front == {"no. 1", "no. 2", "no. 4"}
    assert len(plot.front.split()) == 3
    [winner] = [dot for dot in plot.dots if dot.winner]
    assert winner.words.startswith("no. 4")
    assert plot.better == ("lower is better" if sign == 1 else "higher is better")


def test_groups_and_unlike_trainings_never_share_a_plot():
    cloud = cloud_of(*(record(i, i, i + 1, "a") for i in range(3)))
    for i in range(3, 6):
        cloud.take(record(i, i, i + 1, "b"), card_facts, "")
    for i in range(6, 9):
        cloud.take(record(i, i, i + 1, "b"), card_facts, "40 steps")
    assert [plot.group for plot in plots(cloud, [], "")] == ["b, 40 steps", "b", "a"]
    assert all(len(plot.dots) == 3 for plot in plots(cloud, [], ""))


def test_another_protocol_is_left_out_and_said():
    alike = [record(i, i, i + 1, card={"n_fake": 500}) for i in range(4)]
    [plot] = plots(cloud_of(*alike, record(9, 9, 9, card={"n_fake": 100})), [], "")
    assert len(plot.dots) == 4
    assert plot.remark.startswith("1 measured under another protocol")


def test_failed_unmeasured_and_infinite_candidates_are_no_points():
    bad = [{**record(1, 1, 1), "status": "diverged"}, record(2, 1e300, 5), record(3, None, 5)]
    assert plots(cloud_of(*bad, record(4, 1, 1)), [], "") == []


def test_points_lie_within_the_frame_whatever_their_size():
    points = [(1e-12, 1), (3.0, 10**9), (1e30, 7), (-1e99, 1e99), (0.0, 0.0)]
    for plot in plots(cloud_of(*(record(i, q, p) for i, (q, p) in enumerate(points))), [], ""):
        assert all(0 <= dot.x <= 420 and 0 <= dot.y <= 260 for dot in plot.dots)


def test_what_was_sought_is_drawn_and_listed_first():
    made = [record(i, i, i + 1) for i in range(3)]
    for each in made:
        each["evaluation"]["metrics"]["sought"] = {"value": 1.0, "direction": "maximise"}
    assert plots(cloud_of(*made), ["sought"], "")[0].quality == "sought"
    assert plots(cloud_of(*made), [], "")[0].quality == "score"
    assert ordered(["a", "macs", "rating", "z"], ["z"]) == ["z", "rating", "macs", "a"]


def test_points_are_kept_up_to_a_limit():
    cloud = cloud_of(*(record(i, i, i) for i in range(MAX_POINTS + 3)))
    assert (len(cloud.points), cloud.left_out) == (MAX_POINTS, 3)
