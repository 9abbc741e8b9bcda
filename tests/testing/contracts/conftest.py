"""Hold a component with a planted fault to one law of a suite."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nastk.registry import Component


def component(kind: Any, factory: type, config: type | None = None, **more: Any) -> Component:
    """Return a component whose faulty class a test file holds."""
    path = f"{config.__module__}:{config.__name__}" if config else ""
    words: dict[str, Any] = {"name": "planted", "summary": "a planted fault", **more}
    return Component(
        kind=kind, factory=f"{factory.__module__}:{factory.__name__}", config=path, **words
    )


def law(suite: type[Any], name: str, made: Component) -> None:
    """Call one law of a suite, with the fixtures that it asks for."""
    case = type("Planted", (suite,), {"settings": {}})()
    method = getattr(case, f"test_{name}")
    given: dict[str, Any] = {"component": made}
    if "space" in inspect.signature(method).parameters:
        given = {"space": made.load_factory()(None, task=suite.task)}
    method(**given)


def caught(
    suite: type[Any], name: str, made: Component, accidents: Any = (NameError, AttributeError)
) -> None:
    """Fail unless the law is broken, and by no accident of the test's."""
    try:
        law(suite, name, made)
    except accidents:
        raise
    except (Exception, pytest.fail.Exception):
        return
    raise AssertionError(f"the law '{name}' lets {made.factory} through")


def cases(*pairs: tuple[str, type]) -> Any:
    return pytest.mark.parametrize(
        ("name", "factory"), [pytest.param(n, f, id=f"{n}-{f.__name__}") for n, f in pairs]
    )
