"""Sends files with a progress bar: the original bytes, a header that names the format."""
from __future__ import annotations

from aiokafka.errors import KafkaError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from agents.cli import where
from agents.cli.common import err
from agents.cli.import_files import NotTaken, Planned, Report


async def send(servers: where.Servers, planned: list[Planned], report: Report, *, quiet: bool) -> None:
    """Send what has a topic; what the broker would not take is named in the report. Raises CliError when Kafka does not answer."""
    going = [one for one in planned if one.topic]
    bar = Progress(TextColumn("sending"), BarColumn(), MofNCompleteColumn(), console=err, transient=True, disable=quiet or not err.is_terminal)
    async with where.producer(servers) as producer:
        with bar:
            task = bar.add_task("sending", total=len(going))
            for one in going:
                try:
                    await producer.send_and_wait(one.topic, one.data, headers=list(one.headers))
                except KafkaError as error:
                    code = "TOO_LARGE" if "size" in type(error).__name__.lower() else "NOT_SENT"
                    report.not_taken.append(NotTaken(file=one.file, code=code, path="$", reason=str(error) or type(error).__name__))
                    report.refusals[code] = report.refusals.get(code, 0) + 1
                else:
                    report.sent += 1
                    report.topics[one.topic] = report.topics.get(one.topic, 0) + 1
                bar.advance(task)
