"""A wrong or unknown setting stops the start with a clear line; a right one does not."""
from __future__ import annotations

from pathlib import Path

import pytest

from agents.cli import root
from agents.settings import Settings, SettingsError, load, required


def test_defaults_are_those_of_production() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert settings.clock_speed == 1.0
    assert settings.partitions == 24
    assert (settings.membership, settings.compression, settings.exactly_once) == ("dynamic", "zstd", False)


def test_the_command_line_beats_the_environment_and_the_environment_the_file(tmp_path: Path) -> None:
    file = tmp_path / "railclear.toml"
    file.write_text('bootstrap = "file:1"\npartitions = 6\nclock_speed = 2.5\n')
    settings = load({"bootstrap": "line:1"}, {"RAILCLEAR_PARTITIONS": "8", "PATH": "x"}, file)
    assert (settings.bootstrap, settings.partitions, settings.clock_speed) == ("line:1", 8, 2.5)


def test_stages_are_read_from_a_comma_separated_list() -> None:
    assert load({}, {"RAILCLEAR_STAGES": "intake, trains"}).stages == ("intake", "trains")


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ({"partitons": 3}, {}, "unknown setting 'partitons'"),
        ({}, {"RAILCLEAR_PARTITONS": "3"}, "unknown setting RAILCLEAR_PARTITONS"),
        ({"partitions": "many"}, {}, "partitions"),
        ({"partitions": 0}, {}, "partitions"),
        ({"stages": ["intake", "trians"]}, {}, "unknown stage 'trians'"),
        ({"http_host": "0.0.0.0"}, {}, "http_host"),
        ({"security_protocol": "SASL_SSL"}, {}, "sasl_username"),
        ({"security_protocol": "SASL_PLAINTEXT"}, {}, "'SASL_PLAINTEXT'.*It may be PLAINTEXT or SASL_SSL"),
        ({}, {"RAILCLEAR_SECURITY_PROTOCOL": "SSL"}, "'SSL'.*It may be PLAINTEXT or SASL_SSL"),
        ({}, {"RAILCLEAR_SASL_MECHANISM": "PLAIN"}, "unknown setting RAILCLEAR_SASL_MECHANISM"),
        ({"ssl_certfile": "me.pem"}, {}, "unknown setting 'ssl_certfile'"),
        ({"heartbeat_s": 9}, {}, "heartbeat_s"),
        ({"exactly_once": "perhaps"}, {}, "exactly_once"),
        ({"membership": "static"}, {}, "membership static needs the name"),
        ({"instance": "host-1"}, {}, "and dynamic has none"),
        ({"instance": "two words", "membership": "static"}, {}, "instance"),
        ({"compression": "gzip"}, {}, "compression"),
        ({"snapshot_s": 0}, {}, "snapshot_s"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, object], environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(arguments, environment)


@pytest.mark.parametrize("command", [("worker",), ("pause", "ktz"), ("topics", "diff")])
@pytest.mark.parametrize(("setting", "value", "says"), [
    ("SECURITY_PROTOCOL", "SASL_PLAINTEXT", "It may be PLAINTEXT or SASL_SSL"), ("SECURITY_PROTOCOL", "SSL", "It may be PLAINTEXT or SASL_SSL"),
    ("SASL_MECHANISM", "GSSAPI", "unknown setting RAILCLEAR_SASL_MECHANISM"),
])
def test_security_that_is_not_supported_ends_a_command_with_exit_code_2_and_what_is(
    command: tuple[str, ...], setting: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAILCLEAR_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv(f"RAILCLEAR_{setting}", value)
    assert root.run([*command, *(("--by", "x", "--reason", "y") if command[0] == "pause" else ())]) == 2
    assert says in capsys.readouterr().err


def test_security_that_is_supported_is_taken() -> None:
    given = {"sasl_username": "u", "sasl_password": "p", "ssl_cafile": "ca.pem"}
    assert load({"security_protocol": "SASL_SSL", **given}, {}).security_protocol == "SASL_SSL"
    assert load({"security_protocol": "PLAINTEXT"}, {}).security_protocol == "PLAINTEXT"


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load({}, {}, tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load({}, {}, broken)


def test_a_needed_setting_that_is_empty_says_how_to_give_it() -> None:
    with pytest.raises(SettingsError, match="--bootstrap, RAILCLEAR_BOOTSTRAP"):
        required(Settings(), "bootstrap")
    required(Settings(bootstrap="127.0.0.1:9092"), "bootstrap")
