"""What ``nastk doctor`` sees, and that it ends with 1 exactly where a run could not begin."""

import json
import sys

import pytest

from nastk import doctor
from nastk.testing.pretend_cuda import pretend_cuda


@pytest.fixture
def examined(call, quick, monkeypatch, tmp_path):
    """Return a function from further flags to exit code and document; nothing may be written."""
    monkeypatch.setenv("NASTK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words):
        done = call("doctor", *quick, *words, "--json")
        assert list(tmp_path.glob("*/*")) == []
        return done.exit_code, json.loads(done.stdout)

    return run


def test_doctor_tells_what_is_here_and_what_would_be_used(examined):
    code, document = examined("--seed", "3")
    assert code == 0
    assert (document["kind"], document["problems"]) == ("examination", [])
    sees, uses = document["sees"], document["uses"]
    assert sees["versions"]["python"] == sys.version.split()[0]
    assert sees["plugins"]["nastk-toys"] == "1.0"
    assert set(sees["extras"]) == set(doctor.EXTRAS)
    assert sees["extras"]["digits"]
    assert set(sees["data"]) == {"digits", *doctor.DATA}
    assert sees["devices"]["cpus"] >= 1
    assert 0 < sees["memory"]["free"] <= sees["memory"]["total"]
    assert sees["disk"]["free"] > 0
    assert (uses["device"], uses["threads"]) == ("cpu", 1)
    assert uses["out"] == "runs/toy-random-toy-toy-3"


@pytest.mark.parametrize(
    ("words", "what", "mend"),
    [
        (("--strategy", "bayes"), "no strategy is named 'bayes'", "toy-random"),
        (("--device", "cuda:9"), "got 0 CUDA devices", "--device cpu"),
        (("--dataset", "cifar10"), "no data_batch_1", "dataset.download=true"),
        (("--set", "engine.reserve_mb=99999999999"), "MB free, expected 99999999999", "make room"),
        (("--set", "engine.keep=x"), "engine.keep", ""),
        (("--out", "/proc/x"), "cannot be written", "--out"),
    ],
)
def test_doctor_says_what_the_run_lacks_and_what_brings_it(
    examined, monkeypatch, words, what, mend
):
    monkeypatch.setattr("os.access", lambda folder, mode: str(folder) != "/proc")
    code, document = examined(*words)
    assert code == 1
    assert any(what in p["what"] and mend in p["mend"] for p in document["problems"])


def test_doctor_names_the_command_that_brings_the_default_data(examined, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setattr(doctor, "_installed", lambda modules: "")
    code, document = examined("--dataset", "digits")
    assert code == 1
    assert "scikit-learn" in document["problems"][0]["what"]
    assert "pip install" in document["problems"][0]["mend"]


def test_doctor_prints_a_line_a_fact(call, quick):
    lines = call("doctor", *quick).stdout.splitlines()
    assert any(line.split() == ["plugin", "nastk-toys", "1.0"] for line in lines)
    assert lines[-1] == "nothing is missing for this run"
    assert call("doctor", *quick, "--device", "cuda").stdout.splitlines()[-1].startswith("missing:")


def test_devices_are_listed_one_by_one():
    with pretend_cuda(2):
        found = doctor.devices()
    assert [d["name"] for d in found["cuda"]] == ["Pretend GPU"] * 2
    assert found["cuda"][1]["memory"] == 2**33
    assert "no_cuda" not in found
    assert doctor.devices()["no_cuda"]
