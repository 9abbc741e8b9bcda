import math

from hypothesis import given, settings
from hypothesis import strategies as st

from nastk.report.curves import (
    BUCKETS,
    HEIGHT,
    LARGEST,
    MAX_POINTS,
    WIDTH,
    Curve,
    Point,
    charts,
)
from nastk.report.reading import figure, number, text
from nastk.report.story import Story


def curve(name, values, *, still=False, stage="search"):
    made = Curve(name)
    for i, value in enumerate(values):
        made.add(Point(stage, 0.0 if still else 10.0 * i, float(i), value))
    return made


def corners(stroke):
    return [tuple(map(float, pair.split(","))) for pair in stroke.split()]


def one(*curves):
    found = charts({c.name: c for c in curves})
    assert len(found) == 1
    return found[0]


def step(number_, values, updates=None):
    spent = {"steps": number_ if updates is None else updates}
    return {"type": "step", "step": number_, "spent": spent, "message": "", "values": values}


def test_each_named_value_of_the_steps_has_a_curve():
    story = Story()
    for n in range(4):
        story.take(step(n, {"best": n, "entropy": 1 - n / 4, "d.real": None, "odd": "text"}))
    assert list(story.curves) == ["best", "entropy"]
    assert [p.value for p in story.curves["entropy"].points] == [1, 0.75, 0.5, 0.25]
    assert [p.updates for p in story.curves["entropy"].points] == [0, 1, 2, 3]


def test_a_falling_value_is_drawn_falling_from_left_to_right():
    drawn = corners(one(curve("entropy", [1.0, 0.8, 0.5, 0.1])).lines[0].strokes[0])
    assert drawn == sorted(drawn)
    assert [y for _, y in drawn] == sorted(y for _, y in drawn)  # y grows downwards


def test_parts_of_one_value_share_a_chart_and_others_do_not():
    names = ("d", "d.real", "d.fake", "entropy", "entropy_generator", "extractor_fd", "best")
    found = charts({name: curve(name, [1.0, 2.0]) for name in names})
    titles = {chart.title: [line.name for line in chart.lines] for chart in found}
    assert titles == {
        "best": ["best"],
        "entropy": ["entropy", "entropy_generator"],
        "d": ["d", "d.real", "d.fake"],
        "extractor_fd": ["extractor_fd"],
    }
    assert [chart.title for chart in found][:2] == ["best", "entropy"]


def test_engine_steps_are_the_axis_where_updates_stand_still():
    assert one(curve("a", [1.0, 2.0, 3.0])).axis == "generator updates"
    chart = one(curve("a", [1.0, 2.0, 3.0], still=True))
    assert chart.axis == "engine steps"
    assert len({x for x, _ in corners(chart.lines[0].strokes[0])}) == 3


def test_stages_are_drawn_apart_and_marked():
    made = curve("d", [1.0, 2.0])
    for n, value in enumerate([5.0, 6.0], start=2):
        made.add(Point("retrain", 10.0 * n, n, value))
    chart = one(made)
    assert len(chart.lines[0].strokes) == 2
    assert [name for _, name in chart.stages] == ["retrain"]


def test_long_curves_are_thinned_but_keep_ends_peaks_and_dips():
    values = [math.sin(i / 50) for i in range(3 * MAX_POINTS)]
    made = curve("d", values)
    assert len(made.points) <= MAX_POINTS
    assert made.whole()[-1].value == values[-1]
    drawn = corners(one(made).lines[0].strokes[0])
    assert len(drawn) <= 2 * BUCKETS + 2
    few = [0.0] * 900
    few[450], few[451] = 9.0, -9.0
    heights = [y for _, y in corners(one(curve("d", few)).lines[0].strokes[0])]
    assert max(heights) - min(heights) > HEIGHT / 2


def test_one_point_is_a_dot():
    (line,) = one(curve("gain", [0.5])).lines
    assert (line.strokes, len(line.dots)) == ((), 1)


@given(
    st.lists(
        st.tuples(st.floats(-LARGEST, LARGEST), st.floats(0, LARGEST)), min_size=1, max_size=20
    )
)
@settings(max_examples=60, deadline=None)
def test_points_of_any_size_are_drawn_within_the_chart(points):
    made = Curve("any")
    for i, (value, updates) in enumerate(points):
        made.add(Point("search", updates, float(i), value))
    chart = one(made)
    for stroke in chart.lines[0].strokes:
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners(stroke))
    assert len(chart.up) <= 8
    assert len(chart.across) <= 8


def test_values_too_large_to_draw_are_left_out():
    drawn = charts({c.name: c for c in (curve("a", [1.0, 1e200, 2.0]), curve("b", [-1e101]))})
    assert [(chart.title, len(chart.lines[0].strokes)) for chart in drawn] == [("a", 1)]
    assert "inf" not in drawn[0].lines[0].strokes[0]


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_text_is_one_printable_line_of_limited_length(words, limit):
    told = text(words, limit)
    assert len(told) <= limit
    assert told.isprintable()
    told.encode()


def test_numbers_are_read_strictly_and_told_shortly():
    assert [number(x) for x in (1, 2.5, True, "3", None, 10**400, math.inf)] == [
        1.0, 2.5, None, None, None, None, None
    ]  # fmt: skip
    assert [figure(x) for x in (12345, 0.123456, 1.2e9, 10**400, "x")] == [
        "12,345", "0.1235", "1.2e+09", "", ""
    ]  # fmt: skip
