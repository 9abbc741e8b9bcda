from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from nastk.data.components import COMPONENTS
from nastk.data.config import DatasetConfig, DownloadConfig, FolderConfig
from nastk.registry import Entry, Registry

NAMES = ["cifar10", "cifar100", "digits", "fashion-mnist", "folder", "mnist", "stl10", "svhn"]


def test_every_promised_set_is_registered_with_config_and_factory():
    registry = Registry()
    for component in COMPONENTS:
        registry.add(Entry(component, "nastk", "0"))
    assert registry.names("dataset") == NAMES
    for component in COMPONENTS:
        assert callable(component.load_factory())
        assert issubclass(component.load_config(), DatasetConfig)
        component.load_config()()


def test_every_setting_explains_itself():
    for component in COMPONENTS:
        for field in attrs.fields(component.load_config()):
            assert field.metadata["help"], (component.name, field.name)


def test_components_and_config_import_no_heavy_library():
    code = (
        "import sys, nastk.data.components, nastk.data.config\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'scipy', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", 0),
        ("labels", 1.01),
        ("labels", -0.1),
        ("labels", float("nan")),
        ("labels", float("inf")),
        ("labels", "all"),
        ("labels", True),
        ("validation", 0),
        ("validation", 0.6),
        ("validation", None),
        ("image_size", 3),
        ("image_size", 1025),
        ("image_size", 16.5),
        ("image_size", float("inf")),
        ("image_size", "16"),
        ("channels", 2),
        ("channels", "RGB"),
        ("channels", True),
    ],
)
def test_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: got .*, expected "):
        DatasetConfig(**{name: value})


def test_folder_needs_a_size_and_download_a_switch():
    with pytest.raises(ValueError, match="image_size: got none"):
        FolderConfig(image_size=None)
    with pytest.raises(ValueError, match="download: got 'yes'"):
        DownloadConfig(download="yes")


@pytest.mark.parametrize("path", [3, None, "a\0b", "~nobody-of-this-name/x"])
def test_path_that_cannot_be_one_is_refused(path):
    with pytest.raises(ValueError, match="expected"):
        FolderConfig(path=path)


def test_paths_are_absolute_so_that_a_run_resumes_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert FolderConfig(path="pictures").path == str(tmp_path / "pictures")
    assert DownloadConfig(root="~/sets").root == str(tmp_path / "home" / "sets")
    assert FolderConfig().path == ""
