"""Drawings of networks: everything has a place, no two boxes share one, forged data is refused."""

import json
import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nastk.report.architecture import MAX_BOXES, drawings

from .conftest import DRAWING


@pytest.fixture
def drawn(tmp_path):
    """Return a function from the content of drawing.json to the drawings."""
    (tmp_path / "best").mkdir()

    def draw(document):
        path = tmp_path / "best" / "drawing.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return drawings(tmp_path)

    return draw


def network(edges, boxes=None):
    boxes = boxes or 1 + max(max(edge) for edge in edges)
    box = {"group": "", "marks": [], "ops": ["conv 3×3"], "output": [4, 8, 8], "parameters": 1}
    side = {"input": [3], "output": [1], "boxes": [box] * boxes, "edges": edges}
    return {"schema": 1, "kind": "drawing", "generator": side}


def test_boxes_tell_decision_layers_and_size_and_stand_in_their_cell(drawn):
    generator, discriminator = drawn(DRAWING)
    assert (generator.role, discriminator.role) == ("generator", "discriminator")
    start, linear, cell, joint = generator.boxes
    assert (start.lines, start.shape) == (("input",), "4")
    assert (linear.title, linear.lines, linear.shape) == ("", ("linear",), "4×4×4")
    assert (cell.title, cell.lines) == ("op = twice", ("ReLU · conv 3×3",))
    assert (joint.kind, joint.lines) == ("sum", ("+  4×8×8",))
    assert generator.parameters == "468"
    [frame] = generator.parts
    assert frame.name == "cell0"
    for box in (cell, joint):
        assert frame.x < box.x
        assert box.x + box.width < frame.x + frame.width
        assert frame.y < box.y
        assert box.y + box.height < frame.y + frame.height


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.data())
def test_no_two_boxes_overlap_and_lines_lead_downwards(tmp_path_factory, count, data):
    pairs = st.tuples(st.integers(-1, count - 1), st.integers(0, count - 1))
    edges = data.draw(st.lists(pairs.filter(lambda e: e[0] < e[1]), max_size=30, unique=True))
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "best").mkdir()
    (folder / "best" / "drawing.json").write_text(json.dumps(network(edges, count)))
    [drawing] = drawings(folder)
    for a, b in combinations(drawing.boxes, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x
        assert apart or a.y + a.height <= b.y or b.y + b.height <= a.y
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
    for start, end in edges:
        assert drawing.boxes[start + 1].y < drawing.boxes[end + 1].y
    assert len(drawing.paths) == len(edges)


def uprights(path):
    """Return the upright parts of a line as (x, from, to)."""
    found, x, y = [], 0.0, 0.0
    for word, rest in re.findall(r"([MCV])([^MCV]+)", path):
        numbers = [float(n) for n in re.findall(r"[\d.]+", rest)]
        if word == "V":
            found.append((x, y, numbers[0]))
            y = numbers[0]
        else:
            x, y = numbers[-2:]
    return found


def test_line_that_passes_rows_crosses_no_box(drawn):
    [drawing] = drawn(network([(-1, 0), (0, 1), (1, 2), (2, 3), (0, 3)]))
    passed = []
    for path in drawing.paths:
        for x, top, bottom in uprights(path):
            beside = [b for b in drawing.boxes if b.y < bottom - 1 and top + 1 < b.y + b.height]
            assert all(not b.x < x < b.x + b.width for b in beside)
            if path == drawing.paths[4]:
                passed += beside
    assert {drawing.boxes[2], drawing.boxes[3]} <= set(passed)


@pytest.mark.parametrize(
    "document",
    [
        "{", "[]", {"schema": 1, "kind": "drawing"}, {**DRAWING, "kind": "run"},
        network([(0, 1), (1, 0)]), network([(0, 0)]), network([(-1, 0)], MAX_BOXES + 1),
        {**DRAWING, "generator": 7, "discriminator": [[]]}, " " * 2**21,
    ],
    ids=["torn", "list", "empty", "other kind", "circle", "loop", "too many", "wrong", "too large"],
)  # fmt: skip
def test_forged_drawings_are_left_out(drawn, document):
    assert drawn(document) == []


@pytest.mark.parametrize("wrong", [None, 7, "x" * 9999, [], [[]], {}, True, 1e308, -5])
def test_wrong_values_in_boxes_do_no_harm(drawn, wrong):
    document = json.loads(json.dumps(DRAWING))
    for box in document["generator"]["boxes"]:
        box.update(dict.fromkeys(box, wrong))
    document["generator"]["edges"].append(wrong)
    document["generator"]["input"] = wrong
    drawing = drawn(document)[0]
    assert len(drawing.boxes) == 4
    assert all(len(line) <= 40 for box in drawing.boxes for line in (box.title, *box.lines))


def test_a_linked_drawing_is_not_followed(drawn, tmp_path):
    drawn(DRAWING)
    path = tmp_path / "best" / "drawing.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert drawings(tmp_path) == []
