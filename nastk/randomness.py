"""One seed, named generators: every draw of nastk comes from here, is saved, and is restored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Generator

HOST = "@cpu"
"""End of the name of a torch stream that lives on the host whatever the device is."""


def derive_seed(seed: int, name: str) -> int:
    """Return a 63-bit seed that depends on ``seed`` and ``name`` only."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


class Randomness:
    """Named generators derived from one seed.

    Streams are independent: drawing from one never moves another. A stream is made when first
    asked for, and only made streams are saved, so adding a stream changes no other.

    Args:
        seed: any integer.
        device: where torch generators live.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self.seed = seed
        self.device = device
        self._numpy: dict[str, np.random.Generator] = {}
        self._torch: dict[str, Generator] = {}
        self._scopes: dict[str, dict[str, torch.Tensor]] = {}

    def numpy(self, name: str) -> np.random.Generator:
        """Return the NumPy generator of stream ``name``.

        The same one every time: it goes on where the last draw left it, also after a resumption.
        For draws that are the same at every call ask a :meth:`child`, which begins afresh.
        """
        import numpy as np

        if name not in self._numpy:
            self._numpy[name] = np.random.Generator(np.random.PCG64(derive_seed(self.seed, name)))
        return self._numpy[name]

    def torch(self, name: str) -> Generator:
        """Return the torch generator of stream ``name``, on the device.

        A name that ends in ``@cpu`` is a stream on the host, for what must not wait for a device.
        """
        if name not in self._torch:
            self._torch[name] = self.fixed(name)
        return self._torch[name]

    def fixed(self, name: str) -> Generator:
        """Return a fresh torch generator at the start of stream ``name``; it is not saved.

        For banks of inputs that must be the same at every call.
        """
        import torch

        device = "cpu" if name.endswith(HOST) else self.device
        return torch.Generator(device=device).manual_seed(derive_seed(self.seed, name))

    def child(self, name: str) -> Randomness:
        """Return fresh streams for one piece of work, derived from the seed and ``name``."""
        return Randomness(derive_seed(self.seed, name), self.device)

    @contextmanager
    def scoped(self, name: str) -> Iterator[None]:
        """Let code that insists on torch's global generator draw from stream ``name``.

        Module constructors and ``nn.Dropout`` know no generator argument. Inside, the global
        generators hold this stream; outside, they are as the caller left them.
        """
        import torch

        cuda = torch.device(self.device) if self.device.startswith("cuda") else None
        before = _global_state(cuda)
        if name in self._scopes:
            _set_global_state(self._scopes[name], cuda)
        else:
            seed = derive_seed(self.seed, name)
            torch.default_generator.manual_seed(seed)
            if cuda is not None:
                torch.cuda.default_generators[cuda.index or 0].manual_seed(seed)
        try:
            yield
        finally:
            self._scopes[name] = _global_state(cuda)
            _set_global_state(before, cuda)

    def state_dict(self) -> dict[str, Any]:
        """Return seed and state of every stream made so far."""
        return {
            "seed": self.seed,
            "numpy": {n: g.bit_generator.state for n, g in self._numpy.items()},
            "torch": {n: g.get_state() for n, g in self._torch.items()},
            "scopes": {n: dict(s) for n, s in self._scopes.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; other streams start afresh.

        Generators handed out before stay the run's: they are set in place.
        """
        self.seed = state["seed"]
        for name in {*self._numpy, *state["numpy"]}:
            fresh = Randomness(self.seed).numpy(name).bit_generator.state
            self.numpy(name).bit_generator.state = state["numpy"].get(name, fresh)
        for name in {*self._torch, *state["torch"]}:
            saved = state["torch"].get(name)
            self.torch(name).set_state(self.fixed(name).get_state() if saved is None else saved)
        self._scopes = {n: dict(s) for n, s in state["scopes"].items()}


def _global_state(cuda: torch.device | None) -> dict[str, torch.Tensor]:
    import torch

    state = {"cpu": torch.default_generator.get_state()}
    if cuda is not None:
        state["cuda"] = torch.cuda.get_rng_state(cuda)
    return state


def _set_global_state(state: Mapping[str, torch.Tensor], cuda: torch.device | None) -> None:
    import torch

    torch.default_generator.set_state(state["cpu"])
    if cuda is not None and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], cuda)
