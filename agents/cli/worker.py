"""`railclear worker`: one process with some or all stages."""
from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from agents.cli.common import At, Bootstrap, CliError, Config, Dsn, Overlay, environment, examples, out, print_json
from agents.settings import STAGES, Settings, load, required


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog=examples("worker --bootstrap 127.0.0.1:9092 --dsn postgresql://…", "worker --stages clearance,readiness --at run/",
                                   "worker --leave --instance host-3 --bootstrap 127.0.0.1:9092", "worker --shadow --leave --instance host-3 --at run/"))
    def worker(
        at: At = None, bootstrap: Bootstrap = None, dsn: Dsn = None, config: Config = None,
        stages: Annotated[str, typer.Option(metavar="A,B", help=f"Stages of this process: {', '.join(STAGES)}. Default: all.")] = "",
        partitions: Annotated[int | None, typer.Option(help="Partitions of the folds' topics, as they were created.")] = None,
        overlay: Overlay = None,
        http_port: Annotated[int | None, typer.Option(help="Port of /metrics, /live, /ready on loopback; 0: any.")] = None,
        clock_origin: Annotated[int | None, typer.Option(help="See settings; demo only.")] = None,
        clock_base: Annotated[int | None, typer.Option(help="See settings; demo only.")] = None,
        clock_speed: Annotated[float | None, typer.Option(help="See settings; demo only.")] = None,
        clock_until: Annotated[int | None, typer.Option(help="See settings; demo only.")] = None,
        instance: Annotated[str | None, typer.Option(metavar="NAME", help="Static membership under this name: a restart in place moves no partitions.")] = None,
        leave: Annotated[bool, typer.Option("--leave", help="Run nothing: remove the static member --instance from its group (--shadow: the shadow).")] = False,
        shadow: Annotated[bool | None, typer.Option(
            "--shadow", help="Beside production, under shadow.*; no border, office, territory or restricted outputs, no alerts, no ledger.")] = None,
        log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
        json: Annotated[bool, typer.Option("--json", help="One JSON line when it runs: health address, consumer group, stages, rule pack.")] = False,
    ) -> None:
        """Run stages until stopped. Exit codes: 0 stopped, 2 a setting is wrong, 70 crash: restart it, nothing is lost, 78 refused: see the last line."""
        arguments: dict[str, object] = {
            "bootstrap": bootstrap, "dsn": dsn, "stages": [s.strip() for s in stages.split(",") if s.strip()] or None, "partitions": partitions,
            "overlay": str(overlay) if overlay else None, "http_port": http_port, "clock_origin": clock_origin, "clock_base": clock_base,
            "clock_speed": clock_speed, "clock_until": clock_until,
            "log_level": log_level, "shadow": shadow or None, "instance": instance, "membership": "static" if instance else None,
        }
        if shadow and not stages:
            arguments["stages"] = [stage for stage in STAGES if stage != "ledger"]
        if at is not None:
            from agents.cli import where

            joined = where.find(at).settings
            arguments |= {"bootstrap": joined.bootstrap, "dsn": joined.dsn, "partitions": joined.partitions}
        settings = load(arguments, environment(), config)
        if leave:
            _leave(settings)
            return
        required(settings, "bootstrap", *(("dsn",) if "ledger" in settings.stages else ()))
        logging.basicConfig(level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        for client in ("aiokafka", "kafka"):
            logging.getLogger(client).setLevel(logging.WARNING)
        from agents.app import Worker

        try:
            made = Worker(settings)
        except (NotADirectoryError, OSError) as error:
            raise CliError(str(error)) from error
        if json:
            made.on_started = print_json
        made.run()


def _leave(settings: Settings) -> None:
    from kafka.errors import KafkaError

    from agents import app as composition
    from agents.transport.fatal import Refuses

    try:
        group = composition.leave(settings)
    except (Refuses, KafkaError) as error:
        raise CliError(str(error)) from error
    out.print(f"{settings.instance} has left {group}: its partitions go to the other members now")
