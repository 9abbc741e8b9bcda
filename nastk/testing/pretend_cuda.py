"""Run code "on CUDA" without a GPU: real numbers on the CPU, pretend devices on the tensors.

Inside :func:`pretend_cuda` every storage carries the device that it claims to be on. Asking a
tensor for its device answers with the claim, moving a tensor changes it, and an operation on
tensors of two devices raises, as CUDA would. So device mistakes show up in an ordinary test run.

Not covered: streams, the speed and rounding of a real device, autocast's casts, ``torch.load``
with a map location, ``with torch.device(...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU = torch.device("cpu")
_UNCLAIMED = torch.device("meta")
"""Of tensors that C++ code (autograd) made out of nothing: they agree with every device."""

_CLAIM = "_pretend_device"
_aten = torch.ops.aten
_MOVES = {_aten._to_copy, _aten.copy_, _aten.set_, _aten._foreach_copy_}
_INDEXES = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
_JOINS = {_aten.cat, _aten.stack}
"""Here not even a scalar may be on another device."""

_GET_DEVICE = vars(torch._C.TensorBase)["device"].__get__
_IS_CUDA = vars(torch._C.TensorBase)["is_cuda"].__get__
_RealGenerator = torch.Generator


class _Generator(_RealGenerator):
    """A CPU generator that claims a device."""

    _claimed: torch.device

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        generator = super().__new__(cls)
        generator._claimed = _normal(device)
        return generator

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The claimed device."""
        return self._claimed


def _normal(device: Any) -> torch.device:
    found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return torch.device("cuda", found.index or 0) if found.type == "cuda" else found


def _claim_of(tensor: Tensor) -> torch.device:
    claim = getattr(tensor.untyped_storage(), _CLAIM, CPU)
    assert isinstance(claim, torch.device)
    return claim


def _claim(tensor: Tensor, device: torch.device) -> None:
    setattr(tensor.untyped_storage(), _CLAIM, device)


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor) and x.layout == torch.strided]


def _visible(tensor: Tensor) -> torch.device:
    claim = _claim_of(tensor)
    return CPU if claim == _UNCLAIMED else claim


def _moved(source: Tensor, result: Tensor, device: torch.device) -> Tensor:
    """Return ``result`` on ``device``, copied if it still is ``source``'s memory."""
    if _visible(result) == device:
        return result
    if result.untyped_storage() is source.untyped_storage():
        result = result.clone()
    _claim(result, device)
    return result


def _agreed(func: Any, inputs: list[Tensor], indices: list[Tensor]) -> torch.device:
    """Return the one device of an operation's tensors.

    Raises:
        RuntimeError: there are two. CPU scalars, and CPU indices, may be mixed with anything.
    """
    skip = {id(x) for x in indices if _claim_of(x) == CPU}
    claims = [(_claim_of(x), x) for x in inputs if id(x) not in skip]
    strict = func.overloadpacket in _JOINS
    binding = {d for d, x in claims if d != _UNCLAIMED and (strict or d != CPU or x.dim() > 0)}
    if len(binding) > 1:
        names = " and ".join(sorted(map(str, binding)))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{names} (in {func})"
        )
    if binding:
        return binding.pop()
    return CPU if any(d == CPU for d, _ in claims) else _UNCLAIMED


class _Check(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, backward passes included: refuses mixtures, passes claims on.

    Attributes:
        operations: seen so far.
    """

    operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        inputs = _tensors((args, given))
        packet = func.overloadpacket
        if packet in _MOVES and inputs:
            device = _claim_of(inputs[0])
        else:
            indices = _tensors(args[1]) if packet in _INDEXES else []
            device = _agreed(func, inputs, indices)
        storages = {id(x.untyped_storage()) for x in inputs}
        result = func(*args, **given)
        for output in _tensors(result):
            fresh = id(output.untyped_storage()) not in storages
            if fresh and packet is not _aten.set_:  # set_ takes memory that has its claim
                _claim(output, device)
        self.operations += 1
        return result


class _Devices(TorchFunctionMode):
    """Sees every call from Python: answers for devices and takes ``device=`` out of the call."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        for kind in types:
            if not issubclass(kind, Tensor):  # what stands in for tensors calls torch itself
                with _Devices():
                    return kind.__torch_function__(func, types, args, given)
        special = _SPECIAL.get(func)
        if special is not None:
            return special(func, args, given)
        wanted = given.get("device")
        if wanted is None:
            _check_generator(given.get("generator"), _tensors(args), CPU)
            result = func(*args, **given)
            for output in _tensors(result):
                if _claim_of(output) == _UNCLAIMED:
                    _claim(output, CPU)
            return result
        device = _normal(wanted)
        _check_generator(given.get("generator"), [], device)
        del given["device"]
        return _on(device, func(*args, **given), _tensors((args, given)))


def _on(device: torch.device, result: Any, inputs: list[Tensor]) -> Any:
    """Return a factory's result on ``device``; memory shared with an input is copied first."""
    if not isinstance(result, Tensor):
        return result
    for source in inputs:
        if source.untyped_storage() is result.untyped_storage():
            return _moved(source, result, device)
    _claim(result, device)
    return result


def _check_generator(
    generator: torch.Generator | None, inputs: list[Tensor], device: torch.device
) -> None:
    if generator is None:
        return
    expected = _visible(inputs[0]) if inputs else device
    if generator.device.type != expected.type:
        raise RuntimeError(
            f"Expected a '{expected.type}' device type for generator but found "
            f"'{generator.device.type}'"
        )


def _to(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """``Tensor.to`` in all of its forms."""
    source, *rest = args
    device = kwargs.pop("device", None)
    flags = []
    for value in rest:
        if isinstance(value, Tensor):
            device, kwargs["dtype"] = _visible(value), value.dtype
        elif isinstance(value, torch.dtype):
            kwargs["dtype"] = value
        elif isinstance(value, bool):
            flags.append(value)
        elif value is not None:
            device = value
    kwargs.update(zip(("non_blocking", "copy"), flags, strict=False))
    claim = _claim_of(source)
    result: Tensor = func(source, **kwargs) if kwargs else source
    return _moved(source, result, claim if device is None else _normal(device))


def _cuda(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    index = kwargs.get("device", args[1] if len(args) > 1 else 0)
    return _moved(args[0], args[0], _normal("cuda" if index is None else index))


def _numpy(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if _visible(args[0]).type == "cuda":
        raise TypeError(
            f"can't convert {_visible(args[0])} device type tensor to numpy. Use Tensor.cpu() to "
            "copy the tensor to host memory first."
        )
    return func(*args, **kwargs)


def _deepcopy(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    result = func(*args, **kwargs)
    if result is not args[0]:
        _claim(result, _claim_of(args[0]))
    return result


_SPECIAL: dict[Any, Callable[[Any, Any, dict[str, Any]], Any]] = {
    _GET_DEVICE: lambda func, args, kwargs: _visible(args[0]),
    _IS_CUDA: lambda func, args, kwargs: _visible(args[0]).type == "cuda",
    torch.Tensor.get_device: lambda func, args, kwargs: (
        _visible(args[0]).index if _visible(args[0]).type == "cuda" else -1
    ),
    torch.Tensor.to: _to,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.cpu: lambda func, args, kwargs: _moved(args[0], args[0], CPU),
    torch.Tensor.numpy: _numpy,
    torch.Tensor.__array__: _numpy,
    torch.Tensor.__deepcopy__: _deepcopy,
    torch.Tensor.pin_memory: lambda func, args, kwargs: args[0],
}


def _cuda_module(devices: int) -> dict[str, Any]:
    """Return what stands in for the parts of ``torch.cuda`` that ask the driver."""
    generators = tuple(_Generator(f"cuda:{i}") for i in range(devices))

    def seed_all(seed: int) -> None:
        for generator in generators:
            generator.manual_seed(seed)

    def pick(device: Any = "cuda") -> _Generator:
        return generators[_normal(device).index or 0]

    return {
        "default_generators": generators,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: devices,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "get_device_name": lambda device=None: "Pretend GPU",
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda including_emulation=True: True,
        "is_current_stream_capturing": lambda: False,
        "max_memory_allocated": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "mem_get_info": lambda device=None: (2**33, 2**33),
        "reset_peak_memory_stats": lambda device=None: None,
        "manual_seed": lambda seed: generators[0].manual_seed(seed),
        "manual_seed_all": seed_all,
        "get_rng_state": lambda device="cuda": pick(device).get_state(),
        "set_rng_state": lambda state, device="cuda": pick(device).set_state(state),
    }


@contextmanager
def pretend_cuda(devices: int = 2) -> Iterator[_Check]:
    """Run the body as if there were ``devices`` GPUs; yields a counter of operations.

    Patches torch for the whole process while it runs.

    Raises:
        RuntimeError: an operation mixed devices, or a generator of another device was used.
    """
    with ExitStack() as stack:
        for name, stand_in in _cuda_module(devices).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
        health = "_accelerator_graph_capture_health_check"
        if hasattr(torch.optim.Optimizer, health):
            stack.enter_context(mock.patch.object(torch.optim.Optimizer, health))
        stack.enter_context(_Devices())
        yield stack.enter_context(_Check())  # type: ignore[no-untyped-call]
