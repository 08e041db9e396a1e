"""The command. Each command is a module, imported when it is used: `--help` must not wait for a web server to load.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.
"""

import importlib
from typing import Any

import click

from proxy import NAME, __version__
from proxy.errors import ConfigError, TraghettoError

# command: (module:function, what `--help` says)
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("proxy.cli.serve:serve", "Serve. Without a configuration file: the demo model here, offline, no key."),
    "check": ("proxy.cli.check:check", "Validate a configuration: file, key path, what was expected."),
    "doctor": ("proxy.cli.doctor:doctor", "Probe every upstream, trait and mapping, and say what to do."),
    "keys": ("proxy.cli.keys:keys", "Make, list and revoke API keys."),
    "usage": ("proxy.cli.usage:usage", "What was used and what it cost: by model, key or day."),
    "models": ("proxy.cli.models:models", "List models: of the configuration, or of one upstream."),
    "engine": ("proxy.cli.engine:engine", "Serve this machine's models to other gateways."),
    "pull": ("proxy.cli.pull:pull", "Fetch a model's files from a hub or a URL: resumed, checked."),
    "mock": ("proxy.cli.mock:mock", "An upstream that answers by script, with seeded faults. For tests."),
    "verify": ("proxy.cli.verify:verify", "Check any OpenAI-like server against the stream contract."),
}


class Commands(click.Group):
    """A group whose commands are imported on demand, and whose errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"{NAME}: {error.message}", err=True)
            raise SystemExit(78) from None
        except TraghettoError as error:
            click.echo(f"{NAME}: {error.message}", err=True)
            raise SystemExit(1) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=NAME)
def cli() -> None:
    """An OpenAI-compatible proxy and router: one base_url in front of every model, hosted or here.

    \b
    Begin with:   traghetto serve
    then, in another terminal:
      curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\
           -d '{"model": "default", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
    """
