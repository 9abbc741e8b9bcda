"""Settings and description of the executor; what it promises of candidates needs a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from nastk.registry import Component
from nastk.testing.contracts import ComponentContract
from nastk_ray import register_components


class TestRay(ComponentContract):
    kind: ClassVar[str] = "executor"
    settings: ClassVar[Mapping[str, Any]] = {"workers": 2}
    refused = ({"workers": -1}, {"cpus": -1.0}, {"gpus": -1.0})

    @pytest.fixture
    def component(self) -> Component:
        return register_components()[0]
