"""A wrong or unknown setting stops the start with a clear line; a right one does not."""
from __future__ import annotations

from pathlib import Path

import pytest

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
