"""What every executor promises, held by this one; candidates go to a cluster of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from nastk.registry import Component
from nastk.testing.contracts import ExecutorContract
from nastk_ray import register_components


class TestRay(ExecutorContract):
    settings: ClassVar[Mapping[str, Any]] = {"workers": 2}
    refused = ({"workers": -1}, {"cpus": -1.0}, {"gpus": -1.0})

    @pytest.fixture
    def component(self) -> Component:
        return register_components()[0]
