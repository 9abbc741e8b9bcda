"""What this plugin registers; imports nothing heavy."""

import click

from nastk import hookimpl
from nastk.registry import Component

nastk_api = "1.0"
heard = []


@hookimpl
def register_components():
    return [
        Component(
            kind="strategy",
            name="previous-coin",
            factory="nastk_previous.parts:Coin",
            config="nastk_previous.config:CoinConfig",
            summary="leaves everything to chance",
        ),
        Component(
            kind="objective",
            name="previous-squares",
            factory="nastk_previous.parts:Squares",
            summary="squared distance from plus and minus one",
        ),
    ]


@hookimpl
def register_commands(group):
    @group.command("previous-toss")
    def toss():
        """Say heads."""
        click.echo("heads")


@hookimpl
def on_event(event):
    heard.append(event["type"])
