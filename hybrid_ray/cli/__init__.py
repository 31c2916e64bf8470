"""The command line: argument parsing only; every verb lives below.

Standard output carries the answer (with ``--json``, one JSON object as the last line); progress and logs go to
standard error. Exit codes: 0 done; 2 bad input, one clear line; 1 a failure, with what was kept and how to resume.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

import typer

from hybrid_ray.cli import models, runs, serving, tools
from hybrid_ray.errors import HybridRayError

app = typer.Typer(
    name="hybrid-ray",
    help="Deep extractors and classical learners, fused: extracted, searched and served on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (runs.app, models.app, tools.app):
    app.add_typer(commands)
app.add_typer(models.models, name="models")
app.add_typer(runs.runs, name="runs")
app.add_typer(serving.traffic, name="traffic")
app.add_typer(serving.tokens, name="tokens")
app.add_typer(tools.spec_app, name="spec")
app.add_typer(tools.store_app, name="store")

# typer brings its own copy of click in some versions: the base of its public exception is the same class in all.
_UsageError: Any = typer.BadParameter.__base__


_COMMON = ("store", "address", "quiet", "verbose")


def _with_common_options(command: Any) -> Any:
    """Have every command take the options that scripts may give to all, also where it has no use for them."""
    known = {option.name: option for option in command.commands["run"].params if option.name in _COMMON}
    groups = [command]
    while groups:
        for below in groups.pop().commands.values():
            if hasattr(below, "commands"):
                groups.append(below)
                continue
            taken = {option.name for option in below.params}
            for name in known.keys() - taken:
                unused = copy.copy(known[name])
                unused.expose_value, unused.hidden = False, True
                below.params.append(unused)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in arguments or "--verbose" in arguments
    command = _with_common_options(typer.main.get_command(app))
    try:
        code = command.main(arguments, prog_name="hybrid-ray", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HybridRayError as error:
        if verbose and error.exit_code != 2:
            raise
        print(f"hybrid-ray: {error}", file=sys.stderr)
        return error.exit_code
    except _UsageError as error:
        print(f"hybrid-ray: {error.format_message()} Try 'hybrid-ray --help'", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("hybrid-ray: interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:  # the edge of the process: said in one line, -v shows it whole
        if verbose:
            raise
        print(
            f"hybrid-ray: {type(error).__name__}: {error}. Finished work is kept; the same command goes on from there. "
            "-v shows the traceback",
            file=sys.stderr,
        )
        return 1
