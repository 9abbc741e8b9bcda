import contextlib
import enum
from collections.abc import Mapping
from typing import Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nastk.errors import ConfigError, PluginError
from nastk.settings import Text, build, coerce, describe_type, plain, settings_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Example:
    width: int = attrs.field(default=8, validator=attrs.validators.gt(0), metadata={"help": "wide"})
    rate: float = 0.5
    limit: float = attrs.field(default=float("inf"), metadata={"finite": False})
    name: str | None = None
    mode: Literal["min", "max"] = "min"
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = (1, 2)
    shape: tuple[int, int] = (3, 4)
    extra: Mapping[str, float] = attrs.field(factory=dict)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("true", bool, True),
        ("OFF", bool, False),
        ("-7", int, -7),
        ("1e-3", float, 1e-3),
        ("", str, ""),
        ("none", int | None, None),
        ("none", str | None, None),
        ("", int | None, None),
        ("5", int | None, 5),
        ("max", Literal["min", "max"], "max"),
        ("blue", Colour, Colour.BLUE),
        ("1, 2,3", tuple[int, ...], (1, 2, 3)),
        ("[4,5]", tuple[int, int], (4, 5)),
        ("", tuple[str, ...], ()),
        ('{"a": 1}', Mapping[str, float], {"a": 1.0}),
        ("a,b", list[str], ["a", "b"]),
    ],
)
def test_text_is_read_by_the_type_of_the_field(text, annotation, value):
    assert coerce(Text(text), annotation, "here") == value


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("3", int),
        (True, int),
        (3.0, int),
        (1, bool),
        ("yes", bool),
        (True, float),
        ("0.5", float),
        (3, str),
        (2**63, int),
        (float("nan"), float),
        (float("inf"), float),
        (10**400, float),
        ("mix", Literal["min", "max"]),
        (1, Literal["min", "max"]),
        ("green", Colour),
        ([1, "2"], tuple[int, ...]),
        ([1, 2, 3], tuple[int, int]),
        ("1,2", tuple[int, ...]),
        ({"a": "b"}, Mapping[str, float]),
        ("a\0b", str),
        ("\udcff", str),
        (None, int),
    ],
)
def test_data_of_another_type_is_refused_with_got_and_expected(value, annotation):
    with pytest.raises(ConfigError, match=r"here: got .*, expected "):
        coerce(value, annotation, "here")


def test_an_integer_serves_as_a_number():
    assert coerce(2, float, "here") == 2.0


def test_a_file_says_none_by_the_word():
    assert coerce("none", int | None, "here") is None


def test_infinity_is_taken_where_the_field_says_so():
    assert coerce(Text("inf"), float, "here", finite=False) == float("inf")


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(text):
    with pytest.raises(ConfigError, match="expected a finite number"):
        coerce(Text(text), float, "here")


def test_a_wrong_choice_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'max'"):
        coerce(Text("mx"), Literal["min", "max"], "here")


@given(st.text(max_size=30), st.sampled_from([bool, int, float, tuple[int, ...], Colour]))
def test_any_text_is_read_or_refused(text, annotation):
    with contextlib.suppress(ConfigError):
        coerce(Text(text), annotation, "here")


def test_an_unsupported_type_is_the_plugins_fault():
    with pytest.raises(PluginError, match="unsupported type"):
        coerce(1, set[int], "here")


def test_settings_tell_name_type_default_and_help():
    found = {s.name: s for s in settings_of(Example)}
    assert found["width"].help == "wide"
    assert found["width"].default == 8
    assert found["mode"].type_name == "min|max"
    assert found["name"].type_name == "text or none"
    assert found["sizes"].default == [1, 2]
    assert found["extra"].default == {}
    assert describe_type(tuple[int, ...]) == "list of integer"


def test_a_class_without_attrs_is_no_settings_class():
    with pytest.raises(PluginError, match="no attrs class"):
        settings_of(int)


def test_a_validators_error_shows_its_message_only():
    with pytest.raises(ConfigError) as caught:
        build(Example, {"width": 0}, "[space]")
    assert caught.value.message == "[space]: 'width' must be > 0: 0"


def test_a_missing_required_field_is_named():
    @attrs.frozen
    class Needs:
        path: str

    with pytest.raises(ConfigError, match=r"\[dataset\]: 'path' is missing, expected text"):
        build(Needs, {}, "[dataset]")


def test_plain_data_comes_back_as_it_was():
    record = Example(colour=Colour.BLUE, sizes=(5,), extra={"a": 1.0})
    values = {s.name: plain(getattr(record, s.attribute)) for s in settings_of(Example)}
    again = {
        s.name: coerce(values[s.name], s.type, "saved", finite=s.finite)
        for s in settings_of(Example)
    }
    assert build(Example, again, "saved") == record
