"""The top command: finds commands lazily and turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from nastk import __version__
from nastk.cli.common import App, say, verbosity
from nastk.cli.ranks import check
from nastk.errors import ConfigError, NastkError, UserError, nearest

COMMANDS = {
    "run": "search, retrain the best and measure it",
    "resume": "continue a run from its folder",
    "train": "train one architecture from scratch and measure it",
    "reproduce": "follow a published recipe and hold the outcome against its figures",
    "evaluate": "measure runs, exported files or folders of images; rank several",
    "compare": "strategies against each other and random search, at equal budgets",
    "rerun": "a row of a comparison again, from its bundle",
    "show": "what a run found, tried and cost",
    "sample": "images of a finished run's generator",
    "export": "the generator as one ONNX or safetensors file",
    "report": "one HTML page about a run",
    "list": "components, published architectures and recipes",
    "describe": "settings, defaults and presets of one component, or a recipe",
    "inspect": "parameters, MACs and fingerprint of an architecture",
    "config": "check a configuration file",
    "plugins": "what is installed, and what failed to load",
    "doctor": "what nastk sees here, what a run would use, and what is missing",
    "new-plugin": "begin a plugin: a working distribution with one component",
}
"""nastk's own commands in the order of the help, each in the module of its name."""

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class Group(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return nastk's own commands, then those of plugins."""
        return [*COMMANDS, *sorted(_app(ctx).registry.commands(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; plugins are loaded only for a name that is not ours."""
        if cmd_name in COMMANDS:
            module = import_module(f"nastk.cli.{cmd_name.replace('-', '_')}")
            command: click.Command = module.command
            return command
        return _app(ctx).registry.commands(COMMANDS).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return name, command and remaining arguments, or name the nearest command.

        Raises:
            ConfigError: there is no such command.
        """
        check(args[0])
        command = self.get_command(ctx, args[0])
        if command is None:
            raise ConfigError(
                f"no command is named '{args[0]}'", nearest(args[0], self.list_commands(ctx))
            )
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing ours."""
        rows = list(COMMANDS.items())
        for name, command in sorted(_app(ctx).registry.commands(COMMANDS).items()):
            rows.append((name, command.get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and exit with nastk's codes: 0 done, 1 failure, 2 usage, 3 nothing found, 130."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                words,
                prog_name,
                complete_var,
                False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except Exception as error:  # the one place where errors become lines
            code = report(error, debug="--debug" in words)
        except KeyboardInterrupt:
            code = INTERRUPTED
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def report(error: Exception, *, debug: bool = False) -> int:
    """Write one ``error:`` line (after the traceback with ``debug``) and return the exit code."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        say("error: interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        say(f"error: {_usage(error)}")
        return error.exit_code
    if isinstance(error, NastkError):
        say(f"error: {error}")
        return USAGE if isinstance(error, UserError) else FAILURE
    hint = "" if debug else " (this is a defect of nastk or of a plugin; --debug shows where)"
    say(f"error: {type(error).__name__}: {error}{hint}")
    return FAILURE


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    help_ = f"see '{context.command_path} --help'" if context else ""
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        help_ = nearest(error.option_name, error.possibilities)
        return f"No such option '{error.option_name}' ({help_})"
    message = error.format_message().rstrip(".")
    return f"{message} ({help_})" if help_ else message


def _app(ctx: click.Context) -> App:
    return ctx.ensure_object(App)


def _without_plugins(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Set what says so to this process and to those that it starts; restored at the end."""
    if not value:
        return
    before = os.environ.get("NASTK_PLUGINS")
    os.environ["NASTK_PLUGINS"] = ""

    def restore() -> None:
        os.environ.pop("NASTK_PLUGINS", None)
        if before is not None:
            os.environ["NASTK_PLUGINS"] = before

    ctx.call_on_close(restore)


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  nastk run --budget 5min\n",
)
@click.option(
    "--no-plugins",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_without_plugins,
    help="load nastk's own components only",
)
@click.version_option(__version__, message="nastk %(version)s")
@verbosity
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Search the architectures of generative adversarial networks.

    Pick a strategy, a search space and a data set; get a trained generator, the evidence that it
    is good, and a folder from which all of it can be resumed.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line of this process; never returns."""
    cli.main(prog_name="nastk")
