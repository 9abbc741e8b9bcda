"""Layers in a line share a box; where the flow forks or joins, a box ends."""

from nastk.nn.boxes import Layer, boxes_of


def layer(what, *sources, group="", marks=(), parameters=0):
    return Layer(what, group, marks, sources, (4, 8, 8), parameters)


def ops(layers, outputs=None):
    boxes, edges = boxes_of(layers, outputs or {len(layers) - 1})
    return [box["ops"] for box in boxes], edges


def test_a_fork_ends_a_box_and_its_branches_stand_apart():
    layers = [layer("a", -1), layer("b", 0), layer("c", 0), layer("sum", 1, 2)]
    assert ops(layers) == (
        [["a"], ["b"], ["c"], ["sum"]],
        [[-1, 0], [0, 1], [0, 2], [1, 3], [2, 3]],
    )


def test_a_residual_input_is_not_drawn_into_its_branch():
    layers = [layer("a", -1), layer("b", 0), layer("c", 1), layer("sum", 2, 0)]
    assert ops(layers) == ([["a"], ["b", "c"], ["sum"]], [[-1, 0], [0, 1], [1, 2], [0, 2]])


def test_sums_of_sums_are_one():
    layers = [
        layer("a", -1),
        layer("b", -1),
        layer("c", -1),
        layer("sum", 0, 1),
        layer("sum", 3, 2),
    ]
    assert ops(layers)[0] == [["a"], ["b"], ["c"], ["sum"]]


def test_another_part_or_decision_begins_a_box():
    mark = (("cell.op", "conv"),)
    layers = [layer("a", -1), layer("b", 0, group="cell"), layer("c", 1, group="cell", marks=mark)]
    assert ops(layers)[0] == [["a"], ["b"], ["c"]]


def test_an_output_inside_a_line_ends_its_box():
    assert ops([layer("a", -1), layer("b", 0)], {0, 1})[0] == [["a"], ["b"]]


def test_a_layer_that_only_reshapes_gives_its_size_and_no_word():
    boxes, _ = boxes_of([layer("a", -1, parameters=3), layer("", 0)], {1})
    assert boxes == [{"group": "", "marks": [], "ops": ["a"], "output": [4, 8, 8], "parameters": 3}]
