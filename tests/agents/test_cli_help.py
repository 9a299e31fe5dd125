"""The command line without servers: help with examples, errors that say how to mend them."""
from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agents.cli import root
from agents.cli.common import CliError, parse_duration, parse_time, stamp

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the caller, and a wide terminal, so that texts are not broken into lines."""
    for name in [n for n in os.environ if n.startswith("RAILCLEAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "300")


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, command


def _all() -> dict[tuple[str, ...], Any]:
    if not root.app.registered_commands:
        root._commands()
    return dict(_leaves(typer.main.get_command(root.app)))


COMMANDS = sorted(_all())


def test_every_command_that_was_promised_is_there() -> None:
    assert set(COMMANDS) == {
        ("demo",), ("worker",), ("topics", "diff"), ("topics", "apply"), ("publish",), ("import", "ncts"), ("import", "digitraffic"), ("simulate",),
        ("status",), ("train",), ("side",), ("explain",), ("dead-letters", "list"), ("dead-letters", "show"), ("dead-letters", "replay"),
        ("retract",), ("pause",), ("resume",), ("reopen",), ("drain",), ("verify",), ("rebuild",), ("accept-gap",)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_shows_how_it_is_typed(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run([*path, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"railclear {' '.join(path)} " in text.partition("Example")[2]
    assert "RAILCLEAR_BOOTSTRAP" in text or "--bootstrap" not in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_offers_json(path: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in _all()[path].params)


@pytest.mark.parametrize("arguments", [
    ["status", "X"], ["train", "X"], ["side", "X"], ["explain", "X"], ["topics", "diff"], ["topics", "apply"], ["dead-letters", "list"],
    ["dead-letters", "show", "a/0/1"], ["dead-letters", "replay", "a/0/1"], ["publish", "-"], ["worker"]], ids=" ".join)
def test_without_servers_a_command_says_how_to_name_them_and_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "RAILCLEAR_" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("arguments", "text"), [
    (["status", "X", "--at", "nowhere/"], "nowhere holds no running demo: railclear demo --keep nowhere --stay starts one there"),
    (["status", "X", "--dsn", "postgresql://a@127.0.0.1:1/b"], "the ledger does not answer"),
    (["status", "X", "--dsn", "not an address"], "the ledger does not answer"),
    (["topics", "diff", "--bootstrap", "127.0.0.1:1"], "Kafka at 127.0.0.1:1 does not answer"),
    (["publish", "-", "--bootstrap", "127.0.0.1:1"], "Kafka at 127.0.0.1:1 does not answer"),
    (["dead-letters", "list", "--bootstrap", "127.0.0.1:1"], "Kafka at 127.0.0.1:1 does not answer"),
    (["explain", "X", "--as-of", "yesterday"], "'yesterday' is not a time; write it as 2026-11-25T18:00:00+01:00"),
    (["explain", "X", "--as-of", "2026-11-25T18:00:00"], "has no zone"),
    (["explain", "X", "--lang", "de"], "choose en, zh, ru"),
    (["side", "X", "--next", "12 parsecs", "--dsn", "postgresql://a@127.0.0.1:1/b"], "write 90s, 15m, 12h or 2d"),
    (["import", "ncts", "no-such-file.xml"], "no-such-file.xml does not exist"),
    (["import", "ncts", "README.md", "--as", "nobody"], "--as 'nobody' is no party of the registry"),
    (["import", "digitraffic", "streams"], "no .json file in streams"),
    (["import", "ncts", "README.md", "--keep", "k", "--bootstrap", "127.0.0.1:1"], "--keep is for servers that import starts itself"),
    (["import", "ncts", "README.md", "--overlay", "no-such-directory"], "no-such-directory is no directory"),
    (["dead-letters", "replay"], "say which: an ID, --code or --party"),
    (["simulate", "--start", "1969-01-01T00:00:00+00:00"], "--start must be after 1970"),
    (["status", "X", "--config", "no-such.toml"], "settings file no-such.toml does not exist"),
    (["worker", "--stages", "intake,fly"], "unknown stage 'fly'"),
    (["status"], "Missing argument"),
    (["fly"], "No such command"),
    (["status", "X", "--fly"], "No such option"),
    (["topics"], "Usage"),
])
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert root.run(arguments) == 2
    said = capsys.readouterr()
    assert text in said.err + said.out
    assert "Traceback" not in said.err


def test_a_port_of_health_that_is_taken_is_one_line_with_the_option_before_anything_is_asked_of_kafka() -> None:
    """As a process: a worker takes the log and the signals of the one it runs in."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "agents.cli", "worker", "--stages", "trains", "--bootstrap", "127.0.0.1:1", "--http-port", str(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"railclear: http_port {port} on 127.0.0.1: ")
    assert "--http-port" in line


def test_an_unknown_setting_in_the_environment_stops_with_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAILCLEAR_BOOTSTRAPP", "x")
    assert root.run(["status", "X"]) == 2
    assert "unknown setting RAILCLEAR_BOOTSTRAPP in the environment" in capsys.readouterr().err


def test_simulate_prints_one_json_object_a_line_and_the_same_for_the_same_seed(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*more: str) -> list[str]:
        assert root.run(["simulate", "--trains", "1", *more]) == 0
        return capsys.readouterr().out.splitlines()
    first = printed("--seed", "5")
    assert first == printed("--seed", "5")
    assert first != printed("--seed", "6")
    for line in first:
        found = json.loads(line)
        assert {"topic", "at", "expect"} <= set(found)
        assert ("value" in found) != ("value_hex" in found)
    assert {json.loads(line)["expect"] for line in printed("--clean")} == {"applied"}


def test_times_and_durations_are_read_as_people_write_them() -> None:
    assert parse_time("2026-03-01T12:00:00Z").isoformat() == "2026-03-01T12:00:00+00:00"
    assert parse_time("2026-03-01T20:00:00+08:00").isoformat() == "2026-03-01T12:00:00+00:00"
    assert [parse_duration(t) for t in ("90s", "15m", "12h", "2d", "7")] == [90, 900, 43_200, 172_800, 7]
    assert stamp(1_772_366_400_000_000, "Asia/Shanghai") == "2026-03-01 20:00 +0800"
    assert stamp(None) == ""
    for bad in ("", "h", "-1h", "0", "nan", "1e300"):
        with pytest.raises(CliError):
            parse_duration(bad)


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    """`railclear simulate | head`."""
    process = subprocess.Popen([sys.executable, "-m", "agents.cli", "simulate", "--trains", "3"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (0, 1)
    assert said == ""
