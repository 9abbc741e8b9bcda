"""Malformed inputs of every kind: one clear line, exit code 2, and nothing is harmed."""

import copy
import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nastk.archfile import save_architecture
from nastk.records import Task
from nastk.testing.toys import SpaceConfig, ToySpace

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
SEEN = []
"""One entry per refused input; the last test counts them."""


def malformed(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    )


WORDS = st.text(min_size=1, max_size=12).filter(lambda t: not t.startswith("-") and t.strip())
NAMES = st.from_regex(r"[a-z]{1,8}-[a-z]{1,8}x", fullmatch=True)
NOT_INTEGERS = st.one_of(
    st.floats().map(str), st.sampled_from(["", "1e3", "0x10", "٣", "9" * 30, "--", "1_000", "true"])
)


def _bad_flag(name, values):
    return values.map(lambda value: [f"--{name}={value}"])


BAD_FLAGS = st.one_of(
    NAMES.map(lambda name: [f"--{name}"]),
    _bad_flag("seed", NOT_INTEGERS | st.integers(max_value=-1).map(str)),
    _bad_flag("strategy", NAMES),
    _bad_flag("space", NAMES),
    _bad_flag("preset", NAMES),
    _bad_flag("device", WORDS.filter(lambda w: w not in ("auto", "cpu", "cuda"))),
    _bad_flag("budget", WORDS.filter(lambda w: not w.strip()[:1].isdigit())),
    _bad_flag("labels", WORDS),
    WORDS.filter(lambda w: "=" not in w).map(lambda w: ["--set", w]),
    st.tuples(WORDS, WORDS).map(lambda p: ["--set", f"space.x{p[0]}={p[1]}"]),
    st.tuples(NAMES, WORDS).map(lambda p: ["--set", f"{p[0]}.{p[1]}={p[1]}"]),
    NOT_INTEGERS.map(lambda v: ["--set", f"engine.keep={v}"]),
    st.sampled_from(["nan", "inf", "-inf", "x", ""]).map(lambda v: ["--set", f"trainer.pause={v}"]),
    WORDS.map(lambda w: ["a.toml", w]),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a finished run; made once, never changed."""
    return tmp_path_factory.mktemp("run") / "a"


@pytest.fixture
def run_folder(finished, call, quick):
    if not finished.exists():
        assert call("run", *quick, "--out", finished, "-q").exit_code == 0
    return finished


@pytest.fixture
def check(refuse, run_folder, bytes_of):
    """Return a function that checks one refusal, and that the run folder is what it was."""
    before = bytes_of(run_folder)

    def run(*words):
        line = refuse(*words)
        assert bytes_of(run_folder) == before
        SEEN.append(words)
        return line

    return run


@malformed(90)
@given(flags=BAD_FLAGS, resume=st.booleans())
def test_malformed_flags_are_refused(flags, resume, check, run_folder, quick):
    if resume and flags[0] != "a.toml":
        check("resume", run_folder, *flags)
    else:
        check("run", *quick, "--out", run_folder, *flags)


VALID = {"run": {"seed": 1}, "engine": {"keep": 3}, "space": {"blocks": 2}}
SCALARS = st.one_of(st.text(max_size=5).map(repr), st.just("1979-05-27"), st.just("nan"))


def _no_toml(text):
    try:
        return not tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return True


BAD_TOML = st.one_of(
    st.text(min_size=1, max_size=40).filter(lambda t: _no_toml(t) and t.strip() and "#" not in t),
    st.binary(min_size=1, max_size=20).map(lambda b: b"\xff" + b),
    NAMES.map(lambda n: f"[{n}]\n"),
    NAMES.map(lambda n: f"{n} = 1\n"),
    st.tuples(st.sampled_from(sorted(VALID)), NAMES).map(lambda p: f"[{p[0]}]\n{p[1]} = 1\n"),
    st.sampled_from(["run.seed", "engine.keep", "space.blocks", "final.steps"]).flatmap(
        lambda key: st.sampled_from(['"1"', "1.5", "nan", "true", "[]", "{}", "1979-05-27"]).map(
            lambda v: f"[{key.partition('.')[0]}]\n{key.partition('.')[2]} = {v}\n"
        )
    ),
    st.integers(3, 300).map(lambda n: f"[run]\nseed = {'9' * (20 + n)}\n"),
    st.sampled_from(["[run]\npasses = [1]\n", "[run]\nseed = 1\nseed = 2\n", "run = 3\n"]),
)


@malformed(60)
@given(text=BAD_TOML)
def test_malformed_toml_is_refused_by_the_name_of_the_file(text, check, quick, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    assert str(file) in check("config", "check", file, *quick)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("arch") / "a.json"
    space = ToySpace(SpaceConfig(), task=Task(image=(1, 4, 4)))
    save_architecture(path, space, space.parse("1 0 2 | 1"))
    return json.loads(path.read_text())


JSON = st.one_of(
    st.none(), st.booleans(), st.integers(), st.lists(st.integers(), max_size=2), st.just({"a": 1})
)


@st.composite
def broken_documents(draw, keys=("space", "settings", "task", "generator", "discriminator")):
    """A change of a valid document: key, kind of change and a value."""
    key = draw(st.sampled_from([*keys, "schema", "kind", "codes"]))
    return key, draw(st.sampled_from(["drop", "replace", "add", "inner", "cut"])), draw(JSON)


def spoil(document, key, change, value):
    """Return the bytes of a document that differs from a valid one."""
    document = copy.deepcopy(document)
    if change == "drop":
        del document[key]
    elif change == "add":
        document[f"{key}2"] = value
    elif change == "inner" and isinstance(document[key], dict):
        document[key]["unheard-of"] = value
    else:
        document[key] = value if value != document[key] else "other"
    text = json.dumps(document)
    return (text[: len(text) // 2] if change == "cut" else text).encode()


@malformed(60)
@given(change=broken_documents(), raw=st.none() | st.binary(max_size=20))
def test_malformed_architecture_files_are_refused(change, raw, document, check, tmp_path):
    file = tmp_path / "a.json"
    data = spoil(document, *change) if raw is None else raw
    file.write_bytes(data)
    check("inspect", "--arch", file)


@malformed(30)
@given(
    codes=st.text("0123456789 /|-,x", max_size=14).filter(lambda t: t.count("|") != 1 or "-" in t)
)
def test_malformed_codes_are_refused(codes, check):
    check("inspect", "--space", "toy", f"--arch={codes}")


def _damage_json(path, key, value):
    document = json.loads(path.read_text())
    document[key] = value
    path.write_text(json.dumps(document))


DAMAGES = {
    "no run.json": lambda run, _: (run / "run.json").unlink(),
    "cut run.json": lambda run, n: (run / "run.json").write_text(
        (run / "run.json").read_text()[:n]
    ),
    "kind": lambda run, n: _damage_json(run / "run.json", "kind", n),
    "schema": lambda run, n: _damage_json(run / "run.json", "schema", n + 2),
    "config": lambda run, n: _damage_json(run / "run.json", "config", {"values": n, "origins": {}}),
    "section": lambda run, n: _damage_json(
        run / "run.json", "config", {"values": {f"s{n}": {}}, "origins": {}}
    ),
    "plugins": lambda run, n: _damage_json(run / "run.json", "plugins", {"nastk-toys": f"{n}"}),
    "generations": lambda run, n: [
        p.write_bytes(p.read_bytes()[: n % 50]) for p in run.glob("generations/*/manifest.json")
    ],
    "states": lambda run, n: (
        [p.write_bytes(p.read_bytes() + b"x") for p in run.glob("generations/*/*.safetensors")]
        and [p.unlink() for p in run.glob("generations/*/engine.json")]
    ),
    "journal": lambda run, n: (run / "events.jsonl").write_bytes(b""),
    "a file": lambda run, _: (shutil.rmtree(run), run.write_text("x")),
    "nothing": lambda run, _: shutil.rmtree(run),
    "link": lambda run, _: (
        (run / "events.jsonl").unlink(),
        (run / "events.jsonl").symlink_to("/etc/passwd"),
    ),
}


@malformed(50)
@given(damage=st.sampled_from(sorted(DAMAGES)), number=st.integers(0, 60))
def test_damaged_run_folders_are_refused_and_not_touched(
    damage, number, check, run_folder, tmp_path, bytes_of
):
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.unlink(missing_ok=True) if folder.is_file() else None
    shutil.copytree(run_folder, folder)
    DAMAGES[damage](folder, number)
    before = bytes_of(folder)
    check("resume", folder)
    assert bytes_of(folder) == before


BAD_LINES = st.one_of(
    st.sampled_from([b"{", b"[]", b"3", b"null", b'{"type": "result", "metrics": 3}', b"{}"]),
    st.binary(min_size=1, max_size=10).map(lambda b: b"\xff" + b.replace(b"\n", b"")),
)


@malformed(15)
@given(line=BAD_LINES)
def test_show_refuses_malformed_journals(line, check, run_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run_folder, folder)
    with (folder / "events.jsonl").open("ab") as journal:
        journal.write(line + b"\n")
    check("show", folder)


@st.composite
def bad_data_folders(draw):
    """Files by name, of which something is no image or stands in a wrong place."""
    junk = draw(st.binary(max_size=30))
    header = draw(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"]))
    names = draw(
        st.sampled_from(
            [
                (),
                ("one.png",),
                ("one.png", "two.png"),
                ("cat/one.png", "dog/two.png"),
                ("cat/one.png", "two.png"),
                ("notes.txt",),
                ("cat/notes.txt",),
                ("cat/deep/one.png",),
            ]
        )
    )
    return dict.fromkeys(names, header + junk)


@malformed(40)
@given(files=bad_data_folders())
def test_malformed_data_folders_are_refused(files, check, quick, tmp_path):
    folder = tmp_path / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    words = ("--dataset", "folder", "--set", f"dataset.path={folder}", "--out", tmp_path / "out")
    check("run", *quick, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["/nowhere", "/etc/passwd", ""])
def test_a_data_folder_that_is_none_is_refused(path, check, quick, tmp_path):
    words = ("--dataset", "folder", "--set", f"dataset.path={path}", "--out", tmp_path / "out")
    check("run", *quick, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--seed", "x"),
        ("run", "nowhere.toml"),
        ("resume", "nowhere"),
        ("inspect", "--space", "toy", "--arch", "9 9"),
        ("run", b"\xff\xfe.toml".decode("utf-8", "surrogateescape")),
    ],
)
def test_a_process_refuses_alike(words, process):
    done = process(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "]


def test_more_than_two_hundred_inputs_were_refused():
    if {Path(str(w[0])).name for w in SEEN} >= {"run", "resume", "inspect", "config", "show"}:
        assert len(SEEN) >= 200
