"""Every setting by name, with its meaning and default. A wrong or unknown one stops the start with a clear line.

Order of precedence: command line, environment (`RAILCLEAR_` and the name in capitals), settings file (TOML), default.
"""
from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

PREFIX = "RAILCLEAR_"
STAGES = ("intake", "trains", "custody", "documents", "clearance", "readiness", "sources", "ledger")


class SettingsError(Exception):
    """A setting is unknown, missing or wrong; the text says which, where it came from and what it may be."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One worker's settings."""

    # Kafka
    bootstrap: str = ""
    """Kafka addresses, `host:port,host:port`. Empty: embedded servers are needed."""
    security_protocol: Literal["PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """SASL_SSL is with SCRAM-SHA-512, always. Nothing else is supported: no client certificates, no SASL without TLS (docs/decisions.md)."""
    sasl_username: str = ""
    sasl_password: str = ""
    """SCRAM-SHA-512. Give it through the environment or a file, never on the command line."""
    ssl_cafile: str = ""
    replication: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    """Replication factor of topics that `topics apply` creates; 3 in production."""
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 24
    """Partitions of `*.in` and state topics, fixed at creation; 4 in the demo."""
    group: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,40}$")] = "railclear"
    """Consumer group prefix. Transactional ids begin with `railclear-`, whatever it is."""
    session_timeout_s: Annotated[float, msgspec.Meta(ge=2, le=300)] = 10.0
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.2, le=60)] = 1.0
    commit_interval_s: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 0.5
    membership: Literal["dynamic", "static"] = "dynamic"
    """`dynamic`: whoever ends, cleanly or not, leaves the group at once, and the others take over. `static`: a member under the name of `instance` that a
    crash or restart leaves in the group until its session ends: its partitions wait for it. `railclear worker --leave` removes it."""
    instance: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{0,200}$")] = ""
    """Name of a static member, one process each: the pod's or host's name."""
    compression: Literal["none", "lz4", "zstd"] = "zstd"
    """Of what railclear writes to Kafka."""
    exactly_once: bool = False
    """Transactions for CLEARANCE's outputs: hard fencing, higher latency."""

    # PostgreSQL
    dsn: str = ""
    """PostgreSQL address of the ledger, `postgresql://user@host:port/db`."""
    command_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0

    # What runs here
    stages: tuple[str, ...] = STAGES
    """Stages of this worker; scaling is more workers."""
    overlay: str = ""
    """Directory of TOML files that add a deployment's own parties, crossings, terminals, agreements."""
    pack: str = ""
    """Rule pack hash that must be active; a worker that lacks it stops. Empty: the pack it has."""
    shadow: bool = False
    """Run beside production: own groups, states and topics under `shadow.`. Not written: border, office, territory and restricted outputs, alerts, the ledger
    (docs/operations.md)."""
    data_dir: str = ""
    """Local directory for Faust's own files and for snapshots of the state; empty: a temporary one and no snapshots. Nothing in it is needed again."""
    snapshot_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    """How often the state of each partition is copied to `data_dir`: a restore then reads only what was written since."""

    sweep_rate: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 30.0
    """When a closure or a mask concerns many, a stage of a worker tells so many a second of railclear's time what has changed for them: what else comes
    to a shipment waits in the same queues. 30 for CLEARANCE on a core of its own; more where more workers share its partitions."""

    # Time
    clock_origin: int = 0
    """Append time (microseconds UTC) from which `clock_speed` counts; 0 with speed 1 in production."""
    clock_speed: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0
    """How much faster railclear's time runs than the broker's: 1 in production, more in a demo."""
    clock_base: int = 0
    """Railclear's time at `clock_origin`, microseconds UTC; 0: the same instant."""
    clock_until: int = 0
    """Append time (microseconds UTC) after which the clock goes on at speed 1; 0: never."""

    # Watching
    http_host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9464
    """`/metrics`, `/live`, `/ready`; 0: any free port."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # Demo and tests
    fetch_wait_ms: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 100


NAMES = tuple(f.name for f in msgspec.structs.fields(Settings))


def load(arguments: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from all their places. Raises SettingsError naming the setting, the value and its origin."""
    merged: dict[str, Any] = {}
    if file is not None:
        merged |= _from_file(file)
    merged |= _from_environment(environment)
    merged |= {k: v for k, v in arguments.items() if v is not None}
    for name in merged:
        if name not in NAMES:
            raise SettingsError(f"unknown setting {name!r}. Known: {', '.join(NAMES)}")
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        name = _setting_of(str(error))
        raise SettingsError(f"{name}: {error}{_choices(name)}") from error
    if unknown := [s for s in settings.stages if s not in STAGES]:
        raise SettingsError(f"stages: unknown stage {unknown[0]!r}. Known: {', '.join(STAGES)}")
    if settings.shadow and "ledger" in settings.stages:
        raise SettingsError("shadow: a shadow writes no ledger; name its stages without it")
    if settings.security_protocol == "SASL_SSL" and not (settings.sasl_username and settings.sasl_password and settings.ssl_cafile):
        raise SettingsError("security_protocol SASL_SSL needs sasl_username, sasl_password and ssl_cafile")
    if (settings.membership == "static") != bool(settings.instance):
        raise SettingsError("membership static needs the name of this member in instance, and dynamic has none")
    if settings.heartbeat_s * 3 > settings.session_timeout_s:
        raise SettingsError(f"heartbeat_s {settings.heartbeat_s} must be at most a third of session_timeout_s {settings.session_timeout_s}")
    return settings


def _setting_of(message: str) -> str:
    return message.rsplit("`$.", 1)[-1].rstrip("`") if "`$." in message else "settings"


def _choices(name: str) -> str:
    """What a setting with few values may be."""
    kind = get_type_hints(Settings).get(name)
    return f". It may be {' or '.join(get_args(kind))}" if get_origin(kind) is Literal else ""


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"settings file {file} does not exist") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"settings file {file}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in environment.items():
        if not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX):].lower()
        if name not in NAMES:
            raise SettingsError(f"unknown setting {key} in the environment. Known: {', '.join(PREFIX + n.upper() for n in NAMES)}")
        found[name] = [s.strip() for s in text.split(",") if s.strip()] if name == "stages" else _plain(text)
    return found


def _plain(text: str) -> Any:
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    return text


def required(settings: Settings, *names: str) -> None:
    """Stop with a clear line when a setting that this command needs is empty. Raises SettingsError."""
    for name in names:
        if not getattr(settings, name):
            raise SettingsError(f"{name} is not set: give --{name.replace('_', '-')}, {PREFIX}{name.upper()} or a settings file")


def group_of(prefix: str, stages: Sequence[str]) -> str:
    """Consumer group of a set of stages; the ledger has a group of its own."""
    return f"{prefix}-{hashlib.sha256(','.join(sorted(s for s in stages if s != 'ledger')).encode()).hexdigest()[:8]}"
