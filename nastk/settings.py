"""How text, TOML and JSON become the typed fields of an ``attrs`` settings class.

A settings class is a frozen ``attrs`` class whose fields have types from this list: ``bool``,
``int``, ``float``, ``str``, ``Literal``, an ``Enum``, ``tuple``/``list``/``Sequence`` of those,
``Mapping[str, …]`` of those, and ``… | None``. Coercion is strict: nothing is rounded, cut or
guessed. Numbers must be finite unless the field's metadata holds ``finite=False``.
"""

from __future__ import annotations

import enum
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

import attrs
from attrs import frozen

from nastk.errors import ConfigError, PluginError, nearest
from nastk.records import Budget

MAX_TEXT = 10_000
"""Characters of one value given as text."""
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_BOOLS = {"true": True, "yes": True, "on": True, "1": True}
_BOOLS |= {"false": False, "no": False, "off": False, "0": False}
_BUDGET = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]{1,7})\s*")
_UNITS: dict[str, tuple[float, Any]] = {
    **dict.fromkeys(("step", "steps"), (1, "steps")),
    **dict.fromkeys(("image", "images"), (1, "images")),
    "kimg": (1000, "images"),
    **dict.fromkeys(("mac", "macs"), (1, "macs")),
    "gmacs": (10**9, "macs"),
    "tmacs": (10**12, "macs"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), (1, "seconds")),
    **dict.fromkeys(("m", "min", "minute", "minutes"), (60, "seconds")),
    **dict.fromkeys(("h", "hour", "hours"), (3600, "seconds")),
}


@frozen
class Setting:
    """One field of a settings class.

    Attributes:
        name: of the field, as a key.
        attribute: name of the attribute that holds it.
        type: its annotation.
        default: plain JSON data; None also where the field has no default.
        required: the field has no default.
        help: one line, may be empty.
        finite: NaN and infinities are refused.
    """

    name: str
    attribute: str
    type: Any
    default: Any
    required: bool
    help: str
    finite: bool

    @property
    def type_name(self) -> str:
        """The type as a user reads it, e.g. ``integer`` or ``min|max``."""
        return describe_type(self.type)


def settings_of(cls: type[Any]) -> tuple[Setting, ...]:
    """Return the fields of a settings class, in order.

    Raises:
        PluginError: not an ``attrs`` class, or an annotation cannot be read.
    """
    if not attrs.has(cls):
        raise PluginError(f"'{cls.__module__}:{cls.__qualname__}' is no attrs class")
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:  # whatever evaluating a stranger's annotations raises
        raise PluginError(
            f"annotations of '{cls.__module__}:{cls.__qualname__}': {error}"
        ) from None
    return tuple(_setting(a, hints[a.name]) for a in attrs.fields(cls) if a.init)


def _setting(attribute: attrs.Attribute[Any], annotation: Any) -> Setting:
    metadata = attribute.metadata
    return Setting(
        name=attribute.alias or attribute.name,
        attribute=attribute.name,
        type=annotation,
        default=plain(_default(attribute.default)),
        required=attribute.default is attrs.NOTHING,
        help=str(metadata.get("help", "")),
        finite=bool(metadata.get("finite", True)),
    )


def _default(default: Any) -> Any:
    if default is attrs.NOTHING:
        return None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return None if default.takes_self else default.factory()
    return default


def build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Return an instance of the settings class ``cls`` from coerced values.

    Args:
        cls: the settings class.
        values: field → value, already coerced; the rest takes its default.
        where: named in the message, e.g. ``[space]``.

    Raises:
        ConfigError: a required field is missing, or a validator refuses a value.
    """
    for setting in settings_of(cls):
        if setting.required and setting.name not in values:
            raise ConfigError(
                f"{where}: '{setting.name}' is missing, expected {setting.type_name}",
                setting.help,
            )
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint) from None
    except (ValueError, TypeError) as error:  # attrs validators carry several arguments
        what = error.args[0] if error.args else type(error).__name__
        raise ConfigError(f"{where}: {what}") from None


def plain(value: Any) -> Any:
    """Return ``value`` as plain JSON data: enums by value, tuples as lists."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def describe_type(annotation: Any) -> str:
    """Return a type as a user reads it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "|".join(str(plain(a)) for a in arguments)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "|".join(str(member.value) for member in annotation)
    if _is_union(origin):
        return " or ".join(describe_type(a) for a in arguments)
    if _is_sequence(origin):
        return f"list of {describe_type(arguments[0])}"
    if _is_mapping(origin):
        return f"table of {describe_type(arguments[1])}"
    names = {bool: "true|false", int: "integer", float: "number", str: "text", type(None): "none"}
    return names.get(annotation, str(annotation))


def coerce(value: Any, annotation: Any, where: str, *, finite: bool = True) -> Any:
    """Return ``value`` as the type of a field.

    Args:
        value: TOML or JSON data, or :class:`Text` from a flag or environment variable.
        annotation: the field's type.
        where: origin and key, named in the message.
        finite: refuse NaN and infinities.

    Raises:
        ConfigError: wrong type, out of the 64-bit range, not finite, or not one of the choices.
    """
    if isinstance(value, Text) and len(value) > MAX_TEXT:
        raise ConfigError(f"{where}: got {len(value)} characters, expected at most {MAX_TEXT}")
    try:
        return _coerce(value, annotation, finite)
    except _RefusedError as error:
        expected = error.args[0] if error.args else describe_type(annotation)
        hint = error.args[1] if len(error.args) > 1 else ""
        raise ConfigError(f"{where}: got {_shown(value)}, expected {expected}", hint) from None


def parse_budget(text: str) -> Budget:
    """Return the budget that ``text`` names: ``2000steps``, ``64kimg``, ``600gmacs``, ``5min``.

    Raises:
        ConfigError: no positive number followed by a unit, or part of a step, image or MAC.
    """
    match = _BUDGET.fullmatch(text.lower())
    if match is None or match[2] not in _UNITS:
        hint = nearest(match[2], _UNITS) if match else ""
        raise ConfigError(
            f"budget: got '{text[:60]}', expected e.g. 2000steps, 600gmacs or 5min", hint
        )
    factor, unit = _UNITS[match[2]]
    amount = float(match[1]) * factor
    if amount <= 0 or (unit != "seconds" and amount != int(amount)):
        raise ConfigError(f"budget: got '{text[:60]}', expected a whole, positive amount of {unit}")
    return Budget(amount, unit)


class Text(str):
    """A value that came as text (flag, environment variable), to be read by the field's type."""

    __slots__ = ()


class _RefusedError(Exception):
    """The value does not fit; arguments: what was expected (default: the type) and a hint."""


def _coerce(value: Any, annotation: Any, finite: bool) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return str(value) if isinstance(value, Text) else value
    if origin is Literal:
        return _choice(value, {str(plain(a)): a for a in arguments})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice(value, {str(member.value): member for member in annotation})
    if _is_union(origin):
        return _union(value, arguments, finite)
    if _is_sequence(origin):
        return _sequence(value, origin, arguments, finite)
    if _is_mapping(origin):
        return _mapping(value, arguments[1], finite)
    reader = _SCALARS.get(annotation)
    if reader is None:
        raise PluginError(f"a settings field has the unsupported type {annotation}")
    return reader(value, finite)


def _bool(value: Any, finite: bool) -> bool:
    if isinstance(value, Text) and value.lower() in _BOOLS:
        return _BOOLS[value.lower()]
    if not isinstance(value, bool):
        raise _RefusedError
    return value


def _int(value: Any, finite: bool) -> int:
    if isinstance(value, Text) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RefusedError
    if not -(2**63) <= value < 2**63:
        raise _RefusedError("a 64-bit integer")
    return value


def _float(value: Any, finite: bool) -> float:
    if isinstance(value, Text):
        try:
            value = float(value)
        except ValueError:
            raise _RefusedError from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _RefusedError
    try:
        number = float(value)
    except OverflowError:
        raise _RefusedError("a finite number") from None
    if finite and not math.isfinite(number):
        raise _RefusedError("a finite number")
    return number


def _str(value: Any, finite: bool) -> str:
    if not isinstance(value, str):
        raise _RefusedError
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise _RefusedError("text in UTF-8 without null characters")
    return str(value)


def _none(value: Any, finite: bool) -> None:
    empty = isinstance(value, Text) and not value
    if value is not None and not empty and not (isinstance(value, str) and value.lower() == "none"):
        raise _RefusedError


_SCALARS: dict[Any, Any] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    type(None): _none,
    None: _none,
}


def _choice(value: Any, choices: Mapping[str, Any]) -> Any:
    for text, choice in choices.items():
        raw = plain(choice)
        if (
            (text == value)
            if isinstance(value, str)
            else (raw == value and type(raw) is type(value))
        ):
            return choice
    expected = f"one of {', '.join(choices)}"
    raise _RefusedError(expected, nearest(value, choices) if isinstance(value, str) else "")


def _union(value: Any, arguments: Sequence[Any], finite: bool) -> Any:
    # None first, so that the word "none" is not taken for a text
    refusals = []
    for annotation in sorted(arguments, key=lambda a: a is not type(None)):
        try:
            return _coerce(value, annotation, finite)
        except _RefusedError as refused:
            refusals.append(refused)
    raise refusals[-1] if len(arguments) == 2 and refusals[-1].args else _RefusedError


def _sequence(value: Any, origin: Any, arguments: Sequence[Any], finite: bool) -> Any:
    if isinstance(value, Text):
        value = _split(value)
    if not isinstance(value, (list, tuple)):
        raise _RefusedError
    types_ = list(arguments)
    if origin is not tuple or (len(types_) == 2 and types_[1] is Ellipsis):
        types_ = [types_[0]] * len(value)
    if len(types_) != len(value):
        raise _RefusedError(f"{len(types_)} values")
    items = [_coerce(v, t, finite) for v, t in zip(value, types_, strict=True)]
    return items if origin is list else tuple(items)


def _split(text: str) -> list[Text]:
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("[]", "()"):
        inner = inner[1:-1]
    return [Text(word.strip().strip("\"'")) for word in inner.split(",")] if inner.strip() else []


def _mapping(value: Any, annotation: Any, finite: bool) -> Any:
    if isinstance(value, Text):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _RefusedError("a JSON object") from None
    if not isinstance(value, Mapping):
        raise _RefusedError
    return {str(key): _coerce(item, annotation, finite) for key, item in value.items()}


def _shown(value: Any) -> str:
    kinds = {bool: "the truth value", int: "the number", float: "the number", str: "the text"}
    if isinstance(value, (list, tuple, Mapping)):
        return f"the {'table' if isinstance(value, Mapping) else 'list'} {str(plain(value))[:60]}"
    try:
        text = repr(str(value)) if isinstance(value, str) else str(value).lower()
    except ValueError:  # an integer of thousands of digits
        text = "of very many digits"
    shown = text if len(text) <= 60 else f"{text[:56]} …"
    kind = "the text" if isinstance(value, Text) else kinds.get(type(value), type(value).__name__)
    return f"{kind} {shown}"


def _is_union(origin: Any) -> bool:
    return origin is Union or origin is types.UnionType


def _is_sequence(origin: Any) -> bool:
    return origin in (tuple, list, Sequence)


def _is_mapping(origin: Any) -> bool:
    return origin in (dict, Mapping)
