"""A state tree ↔ JSON and one flat safetensors file, bit for bit, with nothing that is code.

A *state tree* is nested dicts, lists and tuples of ``None``, bool, int, float, str, torch tensors,
NumPy arrays and NumPy scalars. Dict keys are str or int. It comes back as it was, but that tuples
come back as lists, tensors are on the CPU without gradient, and tensors that shared memory no
longer do.

In the JSON a dict with the key ``$`` is a tag: ``tensor``, ``array``, ``scalar``, ``float`` (not
finite) or ``dict`` (with other keys than plain strings).
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk import disk, jsontext
from nastk.errors import NastkError, RunFolderError
from nastk.records import SCHEMA

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_JSON_BYTES = 256 * 2**20
"""A state's JSON larger than this is refused."""

MAX_DEPTH = 200
"""A state tree nested deeper than this is refused, written or read."""

_NATIVE = {
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"
}  # fmt: skip
_RAW = {"complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"}
_ARRAY_KINDS = "biufc"
_NO_ARRAYS = ("bfloat16", "float8")


def save_state(folder: Path, name: str, tree: Any) -> list[str]:
    """Write ``tree`` into ``folder`` and return the names of the files written.

    They are ``<name>.json`` and, if the tree holds tensors or arrays, ``<name>.safetensors``.

    Raises:
        NastkError: something in the tree is no state; the message names its place.
    """
    writer = _Writer()
    data = writer.encode(tree, "", 0)
    torch = any(_is_tensor(blob) for blob in writer.blobs.values())
    document = {"schema": SCHEMA, "kind": "state", "torch": torch, "tree": data}
    files = [f"{name}.json"]
    if writer.blobs:
        files.append(f"{name}.safetensors")
        write_weights(folder / files[1], writer.blobs)
    disk.write(folder / files[0], json.dumps(document, allow_nan=False).encode())
    return files


def size_of(tree: Any) -> int:
    """Return about how many bytes :func:`save_state` would write for ``tree``.

    Raises:
        NastkError: something in the tree is no state.
    """
    writer = _Writer()
    data = writer.encode(tree, "", 0)
    blobs = sum(int(blob.nbytes) + len(key) + 80 for key, blob in writer.blobs.items())
    return len(json.dumps(data, allow_nan=False)) + blobs


def load_state(folder: Path, name: str) -> Any:
    """Return the tree that :func:`save_state` wrote.

    Raises:
        RunFolderError: missing, too large, malformed, or JSON and tensors do not belong together.
    """
    path = folder / f"{name}.json"
    document = read_json(path, "state", MAX_JSON_BYTES)
    try:
        reader = _Reader(folder / f"{name}.safetensors", torch=document["torch"])
        tree = reader.decode(document["tree"], 0)
        reader.check_all_used()
    except RunFolderError:
        raise
    except Exception as error:  # whatever a forged file makes a library raise
        raise RunFolderError(f"{path}: malformed state: {_line(error)}") from None
    return tree


def read_json(path: Path, kind: str, max_bytes: int) -> dict[str, Any]:
    """Return the JSON document in ``path``, of that kind and of nastk's schema.

    Raises:
        RunFolderError: missing, larger than ``max_bytes``, no JSON, or another kind or schema.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise RunFolderError(f"{path}: got {size} bytes, expected at most {max_bytes}")
        document = jsontext.parse(
            path.read_bytes(),
            depth=4 * MAX_DEPTH,
            values=max(jsontext.MAX_VALUES, max_bytes // 12),  # of states of long searches
        )
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RunFolderError(f"{path}: no valid JSON: {_line(error)}") from None
    got = (document.get("kind"), document.get("schema")) if isinstance(document, dict) else None
    if got != (kind, SCHEMA):
        raise RunFolderError(
            f"{path}: got (kind, schema) {str(got)[:80]}, expected ('{kind}', {SCHEMA})",
            "was it written by another version of nastk?",
        )
    return dict(document)


def write_weights(path: Path, tensors: Mapping[str, Any], note: str = "") -> None:
    """Write tensors, or NumPy arrays, by name into one safetensors file; equal input, equal bytes.

    Shared memory is written once per name, gradients are not written.

    Args:
        path: file to write.
        tensors: by name.
        note: text to keep in the file's metadata under the key ``nastk``.

    Raises:
        NastkError: a value is neither tensor nor array.
    """
    for name, value in tensors.items():
        if not (_is_tensor(value) or _is_array(value)):
            raise NastkError(f"weights '{name}': got {type(value).__name__}, expected a tensor")
    metadata = {"nastk": note} if note else None  # one key: the library orders keys at random
    if any(name in str(v.dtype) for v in tensors.values() for name in _NO_ARRAYS):
        from safetensors.torch import save_file as save_torch

        own = {n: _own_tensor(v) for n, v in tensors.items()}
        disk.produce(path, lambda file: save_torch(own, file, metadata))
    else:
        # Also of tensors: their own way takes twice as long to write the same bytes.
        from safetensors.numpy import save_file as save_numpy

        whole = {n: _whole_array(v) for n, v in tensors.items()}
        disk.produce(path, lambda file: save_numpy(whole, file, metadata))


def plain_weights(network: Any) -> dict[str, Any]:
    """Return the state of ``network`` as it takes effect in eval mode, parametrisations folded in.

    So it loads into a network without them (spectral norm, for one).
    """
    import torch

    state = dict(network.state_dict())
    if not isinstance(network, torch.nn.Module):
        return state
    for prefix, module in network.named_modules():
        parametrized: Any = getattr(module, "parametrizations", {})
        for name, steps in parametrized.items():
            start = f"{prefix}.parametrizations.{name}."
            state = {key: t for key, t in state.items() if not key.startswith(start)}
            state[f"{prefix}.{name}"] = _effective(module, name, steps)
    return state


def _effective(module: torch.nn.Module, name: str, steps: torch.nn.Module) -> torch.Tensor:
    was_training = [part for part in steps.modules() if part.training]
    steps.eval()
    try:
        value: torch.Tensor = getattr(module, name).detach().clone()
    finally:
        for part in was_training:
            part.training = True
    return value


def read_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that holds exactly those names and shapes.

    Args:
        path: of the file.
        shapes: name → shape, e.g. ``(64, 3, 3, 3)``.

    Raises:
        RunFolderError: missing, malformed, or other names or shapes; names the first.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            odd = sorted(names ^ set(shapes))
            if odd:
                state = "unknown" if odd[0] in names else "missing"
                raise RunFolderError(f"{path}: tensor '{odd[0]}' is {state}")
            for name, shape in shapes.items():
                got = tuple(file.get_slice(name).get_shape())
                if got != tuple(shape):
                    raise RunFolderError(
                        f"{path}: tensor '{name}' got shape {got}, expected {tuple(shape)}"
                    )
            return {name: file.get_tensor(name) for name in shapes}
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RunFolderError:
        raise
    except Exception as error:  # whatever a forged file makes the library raise
        raise RunFolderError(f"{path}: malformed weights: {_line(error)}") from None


def hash_tensors(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes, 12 hex digits; of any shape."""
    import torch

    total = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        total.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}/".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()[:12]


class _Writer:
    """Turns a tree into JSON data and collects its tensors in ``blobs``."""

    def __init__(self) -> None:
        self.blobs: dict[str, Any] = {}

    def encode(self, value: Any, where: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NastkError(f"state at '{where[:60]}': nested deeper than {MAX_DEPTH}")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else _tag_float(value)
        if isinstance(value, Mapping):
            return self._encode_dict(value, where, depth)
        if isinstance(value, (list, tuple)):
            return [self.encode(v, f"{where}/{i}", depth + 1) for i, v in enumerate(value)]
        return self._encode_leaf(value, where)

    def _encode_dict(self, value: Mapping[Any, Any], where: str, depth: int) -> Any:
        items = [[k, self.encode(v, f"{where}/{k}", depth + 1)] for k, v in value.items()]
        for key, _ in items:
            if type(key) not in (str, int):
                raise NastkError(
                    f"state at '{where}': got key {key!r} of {type(key).__name__}, "
                    "expected str or int"
                )
        if all(type(k) is str and k != "$" for k, _ in items):
            return dict(items)
        return {"$": "dict", "items": items}

    def _encode_leaf(self, value: Any, where: str) -> Any:
        if _is_tensor(value):
            return self._encode_tensor(value, where)
        if _is_array(value) and value.dtype.kind in _ARRAY_KINDS:
            dtype, shape = value.dtype.str, list(value.shape)
            return {"$": "array", "key": self._keep(_bytes_of(value), where), "dtype": dtype,
                    "shape": shape}  # fmt: skip
        if _is_scalar(value) and value.dtype.kind in _ARRAY_KINDS:
            return {"$": "scalar", "dtype": value.dtype.str, "bytes": value.tobytes().hex()}
        raise NastkError(
            f"state at '{where}': got {type(value).__name__}, expected JSON values, tensors or "
            "arrays in dicts and lists"
        )

    def _encode_tensor(self, value: torch.Tensor, where: str) -> Any:
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype in _NATIVE:
            return {"$": "tensor", "key": self._keep(value, where)}
        if dtype not in _RAW:
            raise NastkError(f"state at '{where}': tensors of {dtype} cannot be written")
        import torch

        raw = _own_tensor(value).reshape(-1).view(torch.uint8)
        return {"$": "tensor", "key": self._keep(raw, where), "dtype": dtype,
                "shape": list(value.shape)}  # fmt: skip

    def _keep(self, blob: Any, where: str) -> str:
        key = where.lstrip("/") or "value"
        while key in self.blobs or key == "__metadata__":
            key += "'"
        self.blobs[key] = blob
        return key


class _Reader:
    """Turns JSON data into a tree; every tag and field is checked."""

    def __init__(self, weights: Path, *, torch: bool) -> None:
        self.weights = weights
        self.torch = torch
        self.used: set[str] = set()
        self._blobs: dict[str, Any] | None = None
        self._tags: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "float": self._float, "scalar": self._scalar, "array": self._array,
            "tensor": self._tensor, "dict": self._dict,
        }  # fmt: skip

    def decode(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise RunFolderError(f"{self.weights.stem}: state nested deeper than {MAX_DEPTH}")
        if isinstance(value, list):
            return [self.decode(v, depth + 1) for v in value]
        if not isinstance(value, dict):
            return value
        if "$" not in value:
            return {k: self.decode(v, depth + 1) for k, v in value.items()}
        read = self._tags.get(value["$"])
        if read is None:
            raise RunFolderError(
                f"{self.weights.stem}: unknown tag {str(value['$'])[:40]!r} in state"
            )
        return read(value, depth)

    def check_all_used(self) -> None:
        """Raise where the safetensors file holds anything that the JSON does not name."""
        present = self._load() if self.weights.exists() else {}
        if self.used != set(present):
            raise RunFolderError(
                f"{self.weights}: got {len(present)} tensors, expected {len(self.used)}"
            )

    def _float(self, tag: dict[str, Any], depth: int) -> float:
        return float(struct.unpack(">d", bytes.fromhex(tag["bits"]))[0])

    def _scalar(self, tag: dict[str, Any], depth: int) -> Any:
        import numpy as np

        return np.frombuffer(bytes.fromhex(tag["bytes"]), _dtype(tag["dtype"]), count=1)[0]

    def _array(self, tag: dict[str, Any], depth: int) -> np.ndarray[Any, Any]:
        import numpy as np

        raw = np.asarray(self._blob(tag["key"]))
        if raw.dtype != np.uint8:
            raise RunFolderError(f"{self.weights}: '{tag['key']}' is no raw array")
        array = np.frombuffer(raw.tobytes(), _dtype(tag["dtype"])).copy()
        return np.asarray(array.reshape(_shape(tag["shape"])))

    def _tensor(self, tag: dict[str, Any], depth: int) -> torch.Tensor:
        import torch

        blob = self._blob(tag["key"])
        tensor = blob if isinstance(blob, torch.Tensor) else torch.from_numpy(blob)
        if "dtype" not in tag:
            return tensor
        if tag["dtype"] not in _RAW:
            raise RunFolderError(f"{self.weights}: unknown dtype {str(tag['dtype'])[:40]!r}")
        dtype: torch.dtype = getattr(torch, tag["dtype"])
        shape = _shape(tag["shape"])
        # A view needs the alignment of its dtype, which a slice of a file does not promise.
        return tensor.clone().view(dtype).reshape(shape)

    def _dict(self, tag: dict[str, Any], depth: int) -> dict[Any, Any]:
        result = {k: self.decode(v, depth + 1) for k, v in tag["items"]}
        if any(type(k) not in (str, int) for k in result):
            raise RunFolderError(f"{self.weights.stem}: a key of the state is no str or int")
        return result

    def _blob(self, key: str) -> Any:
        self.used.add(key)
        return self._load()[key]

    def _load(self) -> dict[str, Any]:
        if self._blobs is None:
            if self.torch:
                from safetensors.torch import load_file as load_torch

                self._blobs = load_torch(self.weights)
            else:
                from safetensors.numpy import load_file as load_numpy

                self._blobs = load_numpy(self.weights)
        return self._blobs


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


def _own_tensor(value: Any) -> torch.Tensor:
    import torch

    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
    return tensor.detach().to("cpu", copy=True).contiguous()


def _whole_array(value: Any) -> np.ndarray[Any, Any]:
    """Return a tensor's or array's values as a contiguous array of the same shape."""
    import numpy as np

    array = value.detach().cpu().numpy() if _is_tensor(value) else value
    return np.asarray(np.ascontiguousarray(array).reshape(array.shape))


def _bytes_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(np.frombuffer(array.tobytes(), np.uint8).copy())


def _tag_float(value: float) -> dict[str, str]:
    return {"$": "float", "bits": struct.pack(">d", value).hex()}


def _dtype(text: str) -> np.dtype[Any]:
    import numpy as np

    dtype = np.dtype(str(text))
    if dtype.kind not in _ARRAY_KINDS or dtype.subdtype is not None:
        raise RunFolderError(f"unknown dtype {text[:40]!r} in state")
    return dtype


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    if any(type(n) is not int or n < 0 for n in shape):
        raise RunFolderError(f"impossible shape {str(shape)[:40]} in state")
    return tuple(shape)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
