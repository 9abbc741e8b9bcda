"""What holds for a component of any kind: its name, its settings, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from nastk.assembly import World
from nastk.errors import ConfigError, NastkError, UserError
from nastk.registry import Component
from nastk.settings import Text, coerce, settings_of
from nastk.settings import build as build_settings
from nastk.testing.workbench import world

HEAVY = ("torch", "torchvision", "torch_fidelity", "sklearn", "scipy", "matplotlib", "optuna")
"""What a module of settings must not import: listing components would take seconds."""


class ComponentContract:
    """Laws of every component; the base of all suites.

    Attributes:
        settings: values of the component's settings, as TOML would hold them, that keep it small.
        refused: settings of which each mapping must be refused in one line.
        flags: dotted settings of other parts that the component needs.
        kind: of the component.
    """

    settings: ClassVar[Mapping[str, Any]] = {}
    refused: ClassVar[Sequence[Mapping[str, Any]]] = ()
    flags: ClassVar[Mapping[str, Any]] = {}
    kind: ClassVar[str] = ""

    @pytest.fixture
    def component(self) -> Component:
        """The registered component under test."""
        raise NotImplementedError("give the suite a fixture 'component'")

    def world(self, component: Component, *others: Component, **flags: Any) -> World:
        """Return a world of tiny parts around the component, assembled as a run's would be.

        Args:
            component: under test.
            others: of other kinds.
            flags: dotted settings; ``device`` and ``seed`` may be among them.
        """
        section = f"pass-{component.name}" if component.kind == "pass" else component.kind
        own = {f"{section}.{name}": value for name, value in self.settings.items()}
        return world(component, *others, **{**self.flags, **own, **flags})

    def config(self, component: Component, **settings: Any) -> Any:
        """Return the component's settings, those of the suite with ``settings`` on top."""
        return configured(component, {**self.settings, **settings})

    # -- laws ----------------------------------------------------------------------------------

    def test_component_has_a_name_and_a_summary(self, component: Component) -> None:
        """A name in lower case with hyphens, and one line that says what it is."""
        assert not self.kind or component.kind == self.kind
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", component.name), component.name
        assert component.summary, f"{component.name} has no summary"
        assert "\n" not in component.summary, "the summary is one line"

    def test_every_setting_is_described_and_has_a_valid_default(self, component: Component) -> None:
        """``nastk describe`` shows type, default and help of each."""
        cls = component.load_config()
        for setting in settings_of(cls) if cls else ():
            assert setting.help, f"setting '{setting.name}' has no metadata 'help'"
            if not setting.required:
                coerce(setting.default, setting.type, setting.name, finite=setting.finite)
        if cls and not any(s.required for s in settings_of(cls)):
            build_settings(cls, {}, component.name)

    def test_settings_of_a_wrong_type_are_refused_in_one_line(self, component: Component) -> None:
        """Each of the settings, and those that the suite lists as ``refused``."""
        cls = component.load_config()
        for setting in settings_of(cls) if cls else ():
            with pytest.raises(ConfigError) as caught:
                coerce(Text("\0"), setting.type, setting.name, finite=setting.finite)
            one_line(caught.value)
        for values in self.refused:
            with pytest.raises(UserError) as caught_too:
                self.config(component, **values)
            one_line(caught_too.value)

    def test_module_of_the_settings_imports_nothing_heavy(self, component: Component) -> None:
        """Listing and describing components answers at once."""
        if not component.config:
            return
        module = component.config.partition(":")[0]
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; import {module}; "
            f"print([n for n in {HEAVY!r} if n in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr


def configured(component: Component, values: Mapping[str, Any]) -> Any:
    """Return the settings object of ``component`` from TOML-like values, None without settings.

    Raises:
        ConfigError: unknown, of a wrong type, missing or refused by a validator.
    """
    cls = component.load_config()
    if cls is None:
        assert not values, f"{component.name} has no settings, got {sorted(values)}"
        return None
    known = {s.name: s for s in settings_of(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{component.name} has no setting '{unknown[0]}'")
    where = f"{component.kind} '{component.name}'"
    given = {
        known[n].attribute.lstrip("_"): coerce(v, known[n].type, f"{where}, {n}")
        for n, v in values.items()
    }
    return build_settings(cls, given, where)


def one_line(error: NastkError) -> None:
    """Fail unless an error is one line of text."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} says nothing"
    assert "\n" not in text, f"more than one line: {text}"
