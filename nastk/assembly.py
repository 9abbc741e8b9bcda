"""From a configuration to the objects of a run, and the document that describes them."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import partial
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk.config import Config, parse_budget
from nastk.config_sources import PASS
from nastk.device import choose_device, use_threads
from nastk.errors import PairError, PluginError
from nastk.halving import economised, refusal
from nastk.labels import LabelBook
from nastk.randomness import Randomness
from nastk.records import Budget, Task, digest
from nastk.registry import KINDS, Component, Entry, Registry
from nastk.search import Memory, Search
from nastk.state import hash_tensors
from nastk.strategy import Strategy


@frozen
class World:
    """The assembled parts of one run.

    Attributes:
        config: what was asked for.
        search: space, task, data, trainer and the rest, as the strategy sees them.
        strategy: made, not started.
        entries: the registered components that are used.
        budget: of the search; None: the strategy's own plan.
        labels: who read labels of the data in this process.
    """

    config: Config
    search: Search
    strategy: Strategy
    entries: tuple[Entry, ...]
    budget: Budget | None
    labels: LabelBook = field(factory=LabelBook)


def assemble(config: Config, registry: Registry, device: str = "") -> World:
    """Return the parts that ``config`` names, put together; nothing is written.

    Args:
        config: resolved.
        registry: components by name.
        device: where to run; empty: as configured, ``auto`` being CUDA where there is one.

    Raises:
        UserError: a component is missing, refuses its data or cannot work with another.
    """
    _check_length(config)
    make = _Maker(config, registry)
    device, _ = choose_device(device or config.run.device)
    use_threads(config.engine.threads)
    seed = config.run.seed
    dataset = make("dataset", seed=seed, device=device)
    objective = make("objective")
    logits = objective.class_logits(dataset.classes)
    task = Task(image=dataset.shape, classes=dataset.classes, class_logits=logits)
    space = make("space", task=task)
    book = LabelBook()
    reader = partial(book.reader, dataset)
    passes = [make.network_pass(name) for name in config.run.passes]
    search = Search(
        space=space,
        task=task,
        dataset=reader("strategy"),
        trainer=make(
            "trainer",
            dataset=reader("trainer"),
            objective=objective,
            passes=passes,
            device=device,
        ),
        evaluator=make("evaluator", dataset=reader("evaluator"), device=device),
        objective=objective,
        executor=make("executor"),
        randomness=Randomness(seed, device),
        seed=seed,
        device=device,
        memory=Memory(max_failures=config.engine.max_failures),
    )
    search.evaluator.start(search)
    strategy = make("strategy")
    problem = (
        search.trainer.unsupported(strategy)
        or strategy.unsupported(search)
        or refusal(strategy, config.search, search)
    )
    if problem:
        pair = f"strategy '{config.run.strategy}' on space '{config.run.space}'"
        raise PairError(f"{pair}: {problem}")
    strategy = economised(strategy, config.search, search)
    budget = parse_budget(config.run.budget) if config.run.budget else None
    entries = tuple(used_entries(config, registry))
    world = World(config, search, strategy, entries, budget, book)
    search.executor.start(world)
    return world


def _check_length(config: Config) -> None:
    """Refuse learning rates that fall over a length that is not known in updates."""
    decay = getattr(config.component("trainer"), "lr_decay", "none")
    budget = config.final.budget
    if budget and decay != "none" and parse_budget(budget).unit != "steps":
        raise PairError(
            f"final.budget: got '{budget}' with trainer.lr_decay '{decay}', expected steps",
            "give the length in steps, or set trainer.lr_decay=none",
        )


def used_entries(config: Config, registry: Registry) -> list[Entry]:
    """Return the registered components that ``config`` picks."""
    kinds = [kind for kind in KINDS if kind != "pass"]
    picked = [registry.get(kind, getattr(config.run, kind)) for kind in kinds]
    return [*picked, *(registry.get("pass", name) for name in config.run.passes)]


def run_document(world: World) -> dict[str, Any]:
    """Return the content of ``run.json``."""
    search = world.search
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": world.config.to_json(),
        "versions": versions(),
        "plugins": plugin_versions(world.entries),
        "hashes": plugin_hashes(world.entries),
        "device": search.device,
        "seed": search.seed,
        "space": {"name": search.space.name, "identity": search.space.identity},
        "data": {"name": search.dataset.name, "content": search.dataset.content},
        "companions": {
            name: hash_tensors(network.state_dict().items())
            for name, network in search.objective.companions().items()
        },
    }


def plugin_versions(entries: tuple[Entry, ...] | list[Entry]) -> dict[str, str]:
    """Return distribution → version of the components' distributions."""
    return {entry.distribution: entry.version for entry in entries}


def plugin_hashes(entries: tuple[Entry, ...] | list[Entry]) -> dict[str, str]:
    """Return distribution → hash of the source of the packages that its components are in.

    Nothing is imported. nastk's own code is left out: its version tells, and most of it (screens,
    pages, commands) decides no number.
    """
    packages: dict[str, set[str]] = {}
    for entry in entries:
        name = entry.component.factory.partition(":")[0].partition(".")[0]
        if name and name != "nastk":
            packages.setdefault(entry.distribution, set()).add(name)
    return {
        distribution: digest([_source(name) for name in sorted(names)])[:12]
        for distribution, names in packages.items()
    }


def _source(package: str) -> dict[str, str]:
    """Return file → hash of the Python files of a package or module; empty where there are none."""
    spec = find_spec(package)
    folders = [Path(path) for path in (spec.submodule_search_locations or ())] if spec else []
    files = {str(p.relative_to(f)): p for f in folders for p in f.rglob("*.py")}
    if not folders and spec is not None and spec.origin and Path(spec.origin).is_file():
        files = {Path(spec.origin).name: Path(spec.origin)}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("torch", "torchvision", "numpy", "torch-fidelity"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def changes(document: Mapping[str, Any], world: World) -> list[str]:
    """Return a line per way in which space, data or companions are not those of a ``run.json``."""
    now = run_document(world)
    lines = []
    for key, fact in (("space", "identity"), ("data", "content")):
        saved = document.get(key)
        was = saved.get(fact) if isinstance(saved, Mapping) else None
        if was != now[key][fact]:
            lines.append(f"{key} '{now[key]['name']}' has {fact} {now[key][fact]}, was {was}")
    was, found = document.get("companions", {}), now["companions"]
    if was != found:
        lines.append(f"the objective's companions have weights {found}, had {was}")
    return lines


class _Maker:
    """Makes components by the factory conventions of :class:`nastk.registry.Component`."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config = config
        self.registry = registry

    def __call__(self, kind: str, **parts: Any) -> Any:
        component = self.registry.get(kind, getattr(self.config.run, kind)).component
        return self._made(component, self.config.component(kind), parts)

    def network_pass(self, name: str) -> Any:
        component: Component = self.registry.get("pass", name).component
        return self._made(component, self.config.component(f"{PASS}{name}"), {})

    def _made(self, component: Component, config: Any, parts: Mapping[str, Any]) -> Any:
        factory = component.load_factory()
        try:
            inspect.signature(factory).bind(config, **parts)
        except TypeError as error:
            words = ", ".join(["settings", *(f"{name}=…" for name in parts)])
            raise PluginError(
                f"{component.kind} '{component.name}': cannot call '{component.factory}': {error}",
                f"a {component.kind} is made as factory({words})",
            ) from None
        return factory(config, **parts)
