import subprocess
import sys

import pytest

from nastk.cli import cli
from nastk.cli.common import one_line
from nastk.cli.group import COMMANDS, report
from nastk.errors import ConfigError, NastkError


@pytest.mark.parametrize(
    "code",
    [
        "import nastk.cli",
        "import nastk.cli\ntry:\n    nastk.cli.cli.main(['--help'])\nexcept SystemExit: pass",
        "from nastk.cli.group import COMMANDS\nfrom importlib import import_module\n"
        "[import_module(f'nastk.cli.{name}'.replace('-', '_')) for name in COMMANDS]",
        "import nastk.config, nastk.plugins, nastk.archfile, nastk.device, nastk.engine",
    ],
)
def test_no_heavy_library_is_imported_for_help(code, site):
    heavy = ("torch", "numpy", "torchvision", "sklearn", "scipy", "matplotlib", "rich")
    tail = f"\nimport sys\nprint('heavy', [m for m in {heavy!r} if m in sys.modules])"
    # the toys import NumPy, as they may: only nastk's own components here
    env = {**site, "NASTK_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy []"


def test_help_lists_own_commands_and_those_of_plugins(call):
    result = call("--help")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.stdout for name in (*COMMANDS, "greet"))


def test_every_command_has_help_with_an_example(call):
    for name in COMMANDS:
        words = ("config", "check") if name == "config" else (name,)
        text = call(*words, "-h").stdout
        assert "Example" in text, (name, call(*words, "-h").stderr)
        assert f"nastk {' '.join(words)}" in text.partition("Example")[2]


def test_nastk_alone_shows_help(call):
    assert call().stdout == call("--help").stdout


def test_version_is_on_stdout(call):
    assert call("--version").stdout == "nastk 0.1.0\n"


def test_hook_register_commands_reaches_the_command_line(call):
    assert call("greet").stdout == "hello\n"


def test_an_unknown_command_names_the_nearest(refuse):
    assert refuse("rnu") == "error: no command is named 'rnu' (did you mean 'run'?)"


def test_an_unknown_option_names_the_nearest(refuse):
    assert "did you mean '--seed'?" in refuse("run", "--sede", "1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong", "do this"), 2),
        (NastkError("failed"), 1),
        (ValueError("defect"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_an_error_is_one_line_and_a_code(error, code, capsys):
    assert report(error) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")


def test_debug_shows_the_traceback_before_the_line(process):
    done = process("show", "nowhere", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_keyboard_interrupt_outside_a_run_ends_with_130(monkeypatch, call):
    monkeypatch.setattr(cli, "invoke", _interrupt)
    assert call("plugins").exit_code == 130


def _interrupt(*_):
    raise KeyboardInterrupt


def test_a_line_stays_one_line_without_control_characters():
    assert one_line("a\nb\x1b[31m\udcff\u2028c") == "a b\\x1b[31m\\udcff c"


def test_plugins_shows_distributions_hooks_and_components(call):
    text = call("plugins").stdout
    assert "nastk-toys" in text
    assert "register_commands" in text
    assert "space toy" in text


def test_plugins_without_loading_imports_nothing(toy_plugin, call, monkeypatch):
    monkeypatch.setattr("nastk.plugins.load", lambda **_: pytest.fail("loaded"))
    assert '"distribution": "nastk-toys"' in call("plugins", "--no-load", "--json").stdout
