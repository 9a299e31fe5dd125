"""The tree of commands and the one place where errors become exit codes."""
from __future__ import annotations

import logging

import typer

from agents.cli import EXIT_USAGE, where
from agents.cli.common import CliError, err
from agents.settings import SettingsError
from streams.reference.refused import ReferenceRefused

EPILOG = "Times are shown with their zone. Statuses are computed from what authorities said; railclear decides nothing."

app = typer.Typer(
    name="railclear", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where customs clearance of China-Europe rail freight stands, at every border side along the route.", epilog=EPILOG,
)


def _commands() -> None:
    from agents.cli import accept_gap, ask, bad_days, dead_letters, demo, explain, importing, operations, publish, rebuild, simulate, topics, worker

    for module in (demo, worker, topics, publish, importing, simulate, ask, explain, dead_letters, operations, bad_days, rebuild, accept_gap):
        module.register(app)


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; never a traceback for what a user did."""
    if not app.registered_commands:
        _commands()
    for client in ("aiokafka", "kafka", "asyncio"):  # what clients log while they retry is for workers; a command says what came of it
        logging.getLogger(client).addHandler(logging.NullHandler())
    try:
        # It shows what is wrong with the arguments itself, and ends with SystemExit whatever happens; our own errors pass through it.
        typer.main.get_command(app).main(args=arguments, prog_name="railclear")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (SettingsError, ReferenceRefused) as error:
        err.print(f"railclear: {error}", markup=False, soft_wrap=True)
        return EXIT_USAGE
    except CliError as error:
        err.print(f"railclear: {error}", markup=False, soft_wrap=True)
        return error.code
    finally:
        where.close()
    return 0
