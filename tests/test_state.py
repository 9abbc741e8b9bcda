from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nastk.errors import NastkError, RunFolderError
from nastk.state import load_state, save_state, write_weights

TORCH_DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32,
    torch.uint64, torch.float8_e5m2,
]  # fmt: skip
NUMPY_DTYPES = ["<f8", "<f4", "<f2", "<i8", "<i4", "|i1", "|u1", "<u4", "<u8", "|b1", "<c16", ">i4"]


def same(a: Any, b: Any) -> bool:
    """Equal in type and in every bit, tuples read as lists."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and raw(a) == raw(b)
        )
    if isinstance(a, (np.ndarray, np.generic)):
        equal = (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        return equal and isinstance(a, np.generic) == isinstance(b, np.generic)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return type(b) is float and struct.pack(">d", a) == struct.pack(">d", b)
    return type(a) is type(b) and a == b


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype = draw(st.sampled_from(TORCH_DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=count, max_size=count))
    if dtype is torch.bool:
        data = bytes(b & 1 for b in data)
    if not count:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return flat.view(dtype).reshape(shape)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(NUMPY_DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=count, max_size=count))
    if dtype.kind == "b":
        data = bytes(b & 1 for b in data)
    array = (
        np.frombuffer(bytearray(data), dtype).reshape(shape) if count else np.empty(shape, dtype)
    )
    return array[()] if not shape and draw(st.booleans()) else array


leaves = (
    st.none() | st.booleans() | st.integers(-(2**130), 2**130) | st.floats() | st.text()
    | tensors() | arrays()
)  # fmt: skip
keys = st.text(max_size=5) | st.integers(-5, 10) | st.sampled_from(["$", "a/b", "__metadata__"])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees)
def test_every_state_tree_comes_back_bit_for_bit(tmp_path: Path, tree: Any) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    files = save_state(tmp_path, "s", tree)
    assert sorted(files) == sorted(p.name for p in tmp_path.iterdir())
    assert same(tree, load_state(tmp_path, "s"))


def test_optimiser_state_and_generators_continue_as_before(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    layer(torch.ones(4, 3)).sum().backward()
    optimiser.step()
    rng = np.random.Generator(np.random.PCG64(5))
    rng.random(3)
    save_state(tmp_path, "s", {"o": optimiser.state_dict(), "r": rng.bit_generator.state})
    back = load_state(tmp_path, "s")
    assert list(back["o"]["state"]) == [0, 1]
    fresh = np.random.Generator(np.random.PCG64(0))
    fresh.bit_generator.state = back["r"]
    assert fresh.random() == rng.random()
    assert same(optimiser.state_dict()["state"], back["o"]["state"])


def test_tensors_that_share_memory_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    save_state(tmp_path, "s", {"a": base, "b": base[2:4], "c": base.view(2, 3).t()})
    back = load_state(tmp_path, "s")
    back["a"].zero_()
    assert back["b"].tolist() == [2.0, 3.0]
    assert back["c"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_parameters_come_back_without_gradient(tmp_path: Path) -> None:
    save_state(tmp_path, "s", {"p": torch.nn.Parameter(torch.ones(2))})
    assert not load_state(tmp_path, "s")["p"].requires_grad


@pytest.mark.parametrize("bad", [object(), {1.5: 0}, {True: 0}, {1, 2}, b"x", np.array([object()])])
def test_what_is_no_state_is_refused_by_place(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(NastkError, match="state at '/deep/0'"):
        save_state(tmp_path, "s", {"deep": [bad]})


@pytest.mark.parametrize(
    "tree",
    [
        {"$": "pickle", "data": "gASVAAAA"},
        {"$": "tensor", "key": "missing"},
        {"$": "array", "key": "w", "dtype": "O", "shape": [1]},
        {"$": "scalar", "dtype": "|O8", "bytes": "0000000000000000"},
        {"$": "float", "bits": "zz"},
        {"$": "dict", "items": [[[1], 2]]},
        {"$": "dict"},
        {"$": ["tensor"]},
        {"$": "tensor", "key": "w", "dtype": "load", "shape": [2]},
        {"$": "array", "key": "w", "dtype": "|u1", "shape": [-1]},
        {"nothing": "uses w"},
    ],
)
def test_forged_tags_are_refused(tmp_path: Path, tree: Any) -> None:
    write_weights(tmp_path / "s.safetensors", {"w": np.zeros(2, np.uint8)})
    document = {"schema": 1, "kind": "state", "torch": False, "tree": tree}
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(RunFolderError):
        load_state(tmp_path, "s")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema": 1}', '{"schema":1,"kind":"state","tree":NaN}', "[" * 100_000,
     '{"schema":2,"kind":"state","torch":false,"tree":0}', '{"schema":1,"kind":"state","tree":0}',
     '{"schema":1,"kind":"state","torch":false,"tree":' + "[" * 300 + "]" * 300 + "}",
     '{"schema":1,"kind":"state","torch":false,"tree":' + "9" * 5000 + "}"],
)  # fmt: skip
def test_malformed_json_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(RunFolderError) as caught:
        load_state(tmp_path, "s")
    assert "\n" not in str(caught.value)


def test_states_without_tensors_need_no_torch(tmp_path: Path) -> None:
    save_state(tmp_path, "s", {"a": np.arange(3), "b": 1})
    code = (
        "import sys; from pathlib import Path; from nastk.state import load_state;"
        f"assert load_state(Path({str(tmp_path)!r}), 's')['a'].tolist() == [0, 1, 2];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tensors_are_read_in_a_process_that_had_no_torch(tmp_path: Path) -> None:
    save_state(tmp_path, "s", [np.arange(3), torch.ones(2, dtype=torch.bfloat16)])
    code = (
        "import sys; from pathlib import Path; from nastk.state import load_state;"
        f"back = load_state(Path({str(tmp_path)!r}), 's');"
        "assert str(back[1].dtype) == 'torch.bfloat16'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    weights = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    write_weights(tmp_path / "1", weights)
    write_weights(tmp_path / "2", dict(reversed(list(weights.items()))))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_weights_have_the_bytes_that_the_librarys_own_way_with_tensors_gives(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file

    tensors = {
        "plain": torch.arange(6.0).reshape(2, 3),
        "last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "part": torch.arange(9)[::2],
        "scalar": torch.tensor(2, dtype=torch.int16),
        "none": torch.zeros(0, 3, dtype=torch.bool),
    }
    write_weights(tmp_path / "ours.safetensors", tensors)
    save_file({n: t.contiguous() for n, t in tensors.items()}, tmp_path / "theirs.safetensors")
    ours, theirs = ((tmp_path / f"{n}.safetensors").read_bytes() for n in ("ours", "theirs"))
    assert ours == theirs


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_types_that_arrays_lack_are_written(tmp_path: Path, dtype: torch.dtype) -> None:
    from safetensors.torch import load_file

    weights = {"half": torch.ones(3).to(dtype), "whole": torch.ones(2)}
    write_weights(tmp_path / "w.safetensors", weights)
    found = load_file(tmp_path / "w.safetensors")
    assert all(same(found[name], weight) for name, weight in weights.items())
