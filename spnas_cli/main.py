"""The `spnas` command: finds the commands, and turns the error tree into one line and one exit code."""

from __future__ import annotations

import signal
from importlib import import_module
from typing import Any

import click
from typing_extensions import override

from profiling.errors import (
    DeviceLostError,
    InputError,
    MeasurementError,
    NoDeviceError,
    ProcessError,
    SpnasError,
    TableError,
)
from spnas_cli import __version__
from spnas_cli.help import Group
from spnas_cli.output import PROGRAM, TYPED, is_main_process, print_error, printable

COMMANDS = (
    "devices", "init", "profile", "table", "predict", "data", "search", "random", "train", "evaluate", "validate", "export",
    "compare", "report", "doctor",
)  # fmt: skip

EXIT_CODES: dict[type[SpnasError], int] = {
    InputError: 2,
    NoDeviceError: 3,
    DeviceLostError: 4,
    MeasurementError: 5,
    TableError: 6,
}
FAILED = 1
INTERRUPTED = 130


class LazyGroup(Group):
    """Imports a command's module when the command is asked for, and translates what it raises."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the work, not of the alphabet."""
        return list(COMMANDS)

    @override
    def find(self, name: str) -> click.Command | None:
        """The command that `spnas_cli.commands.NAME` defines under the same name."""
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"spnas_cli.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the words of the command line, for those who show later what was typed."""
        ctx.meta[TYPED] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command.

        Raises:
            click.exceptions.Exit: with the exit code of what went wrong; with `--debug` the exception itself comes through.
        """
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc]
            if is_main_process():
                raise
            raise click.exceptions.Exit(error.exit_code) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            if is_main_process():
                click.echo(
                    "\nInterrupted. Finished work is kept; run the same command again to continue (search, train: --resume).",
                    err=True,
                )
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if ctx.params["debug"]:
                raise
            if isinstance(error, ModuleNotFoundError):
                from profiling.extras import missing_extra

                error = missing_extra(error) or error
            # When several processes fail for the same reason, only one reports it.
            if is_main_process() or isinstance(error, ProcessError) or not isinstance(error, SpnasError):
                print_error(error)
            code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED)
            raise click.exceptions.Exit(code) from error


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Print a line on stderr for every step instead of a progress bar.")
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors only: no progress, no notes.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="spnas")
@click.pass_context
def cli(ctx: click.Context, verbose: bool, quiet: bool, debug: bool) -> None:
    """Find the most accurate ConvNet that runs within a latency budget on your phone.

    The usual order: list the devices (devices), measure every layer (profile), check the runtime model (validate), search for a
    network with a target latency in milliseconds (search), predict any network's latency (predict).

    \b
    Example, with this machine as the device:
      spnas profile --device host --space digits --calibrate 10
      spnas search --table digits-host --data digits --target-ms 50% -o run
    """
    ctx.obj = -1 if quiet or not is_main_process() else int(verbose)


def main() -> None:
    """Entry point of the console script."""
    # To end a command from outside is to interrupt it: it stops what it started, and removes what it has not finished.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, signal.default_int_handler)
    cli(prog_name=PROGRAM)
