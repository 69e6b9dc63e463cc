"""The command line: parses, calls the Python API, prints. Heavy imports happen in the commands that need them."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from dualml.cli import service_commands, training_commands
from dualml.cli.exit_codes import BUG, DONE, WRONG_INPUT
from dualml.errors import DualmlError

TYPER_INTERRUPTED = 130
"""What typer makes of Ctrl-C; the contract says 2 and a message."""
app = typer.Typer(
    name="dualml",
    help="One model, two frameworks, proven equal: PyTorch and Keras/TensorFlow from one spec.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from dualml import __version__

        print(f"dualml {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """One model, two frameworks, proven equal."""


for _command in (  # in the order of the help
    training_commands.train,
    training_commands.evaluate,
    service_commands.predict,
    service_commands.explain,
    service_commands.attack,
    service_commands.export,
    service_commands.compress,
    service_commands.verify,
    service_commands.serve,
    training_commands.compare,
    training_commands.diff,
    training_commands.describe,
    training_commands.backends,
    training_commands.schema,
):
    app.command()(_command)


def main() -> None:
    """Run the command line; what the user got wrong is one message on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
        if code == TYPER_INTERRUPTED:
            code = wrong_input("interrupted")
    except DualmlError as error:
        code = wrong_input(str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = wrong_input("interrupted")
    except SystemExit as stop:  # typer's, when a pipe's reader went away: nothing is wrong with that
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that closing stdout does not fail again
        code = DONE
    except OSError as error:
        code = wrong_input(f"{error.filename or 'file'}: {error.strerror or error}")
    except MemoryError as error:
        code = wrong_input(f"not enough memory: {error}; use a smaller model or batch")
    except Exception as error:
        if not hasattr(error, "show"):
            traceback.print_exc()
            print("dualml: this is a bug in dualml, not in your input; please report it", file=sys.stderr)
            sys.exit(BUG)
        error.show()  # typer's own: a wrong flag or argument
        code = WRONG_INPUT
    sys.exit(code if isinstance(code, int) else DONE)


def wrong_input(message: str) -> int:
    """Print a message on stderr and give its exit code."""
    print(f"dualml: {message}", file=sys.stderr)
    return WRONG_INPUT
