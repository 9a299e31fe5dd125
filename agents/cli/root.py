"""The tree of commands and the one place where errors become exit codes."""
from __future__ import annotations

import click
import typer

from agents.cli import EXIT_INTERRUPTED, EXIT_USAGE, where
from agents.cli.common import CliError, err
from agents.settings import SettingsError

EPILOG = "Times are shown with their zone. Statuses are computed from what authorities said; railclear decides nothing."

app = typer.Typer(
    name="railclear", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where customs clearance of China-Europe rail freight stands, at every border side along the route.", epilog=EPILOG,
)


def _commands() -> None:
    from agents.cli import ask, dead_letters, demo, explain, importing, publish, simulate, topics, worker

    for module in (demo, worker, topics, publish, importing, simulate, ask, explain, dead_letters):
        module.register(app)


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; never a traceback for what a user did."""
    if not app.registered_commands:
        _commands()
    try:
        result = typer.main.get_command(app).main(args=arguments, prog_name="railclear", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.exceptions.Abort, KeyboardInterrupt):
        err.print("railclear: interrupted")
        return EXIT_INTERRUPTED
    except SettingsError as error:
        err.print(f"railclear: {error}", markup=False)
        return EXIT_USAGE
    except CliError as error:
        err.print(f"railclear: {error}", markup=False)
        return error.code
    except BrokenPipeError:
        return 0
    finally:
        where.close()
    return int(result) if isinstance(result, int) else 0
