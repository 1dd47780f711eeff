"""The settings: from `RECEIVER_…` variables, else from `receiver.toml`, else a default; tells all bad ones.

An empty variable counts as none. `RECEIVER_CONFIG` gives another path for the file; its entries have the
names of the variables in lower case, without the prefix. No message shows a secret or a database URL.
"""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from receiver.errors import KeyringError, SettingsError
from receiver.keyring import Keyring, load_kek, load_or_create_kek, parse_kek

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ENV_PREFIX = "RECEIVER_"
CONFIG_VARIABLE = "RECEIVER_CONFIG"
DEFAULT_CONFIG = Path("receiver.toml")

_NOT_SHOWN = frozenset({"kek", "database_url"})  # a database URL may hold a password
_DATABASE_SCHEMES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def _check_kek(kek: SecretStr) -> SecretStr:
    try:
        parse_kek(kek.get_secret_value())
    except KeyringError as exc:
        raise ValueError(
            "must be 32 bytes, written as 64 hexadecimal digits or as base64 (`openssl rand -hex 32` makes one)"
        ) from exc
    return kek


def _resolve_database_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return f"{_DATABASE_SCHEMES[scheme]}://{rest}"


def _check_public_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a URL like https://lora.example.org, without a query")
    return url.rstrip("/")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Days = Annotated[int, Field(gt=0, le=36_500)]
_UserPath = Annotated[Path, AfterValidator(Path.expanduser)]  # no shell sees a ~ that stands in a file


class Settings(BaseSettings):
    """What an operator may set. Sizes are in bytes, durations in seconds; nothing changes during a run."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: _UserPath = Field(
        Path("receiver-data"), description="Where the database and the key-encryption key stand."
    )
    database_url: Annotated[str, AfterValidator(_resolve_database_url)] | None = Field(
        None,
        repr=False,
        description="sqlite:///file or postgresql://…; else a SQLite file in the data directory.",
    )
    kek: Annotated[SecretStr, AfterValidator(_check_kek)] | None = Field(
        None, description="The key-encryption key: 32 bytes as 64 hex digits or base64."
    )
    kek_file: _UserPath | None = Field(None, description="A file with the key-encryption key.")
    public_url: Annotated[str, AfterValidator(_check_public_url)] | None = Field(
        None, description="The URL under which the network reaches this receiver."
    )
    body_max_bytes: PositiveInt = Field(262_144, description="A larger push is answered 413.")
    body_timeout_s: _Seconds = Field(10, description="How long a push may take to arrive.")
    max_connections: PositiveInt = Field(
        4096,
        description="Connections that one server process takes on, over TLS a quarter of it; the others wait a little.",
    )
    api_calls_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        20, description="What one API key may do to one server process, five seconds' worth at once; 0: no limit."
    )
    rejections_max_rows: PositiveInt = Field(10_000, description="Rejections kept for each connection.")
    rejections_max_bytes: PositiveInt = Field(
        64 * 1024 * 1024, description="Bytes of rejections kept for each connection."
    )
    unknown_rejections_max_rows: PositiveInt = Field(
        1_000, description="Rejections kept for all unknown connections together."
    )
    spool_max_bytes: PositiveInt = Field(
        1024 * 1024 * 1024, description="The most that the spool holds while the database is away."
    )
    spool_max_age_s: _Seconds = Field(
        7 * 86_400, description="A spool whose oldest report is older takes no more: nobody has noticed."
    )
    reading_batch_rows: PositiveInt = Field(200, description="Reports read in one transaction.")
    reading_idle_s: _Seconds = Field(0.05, description="How often the worker looks when there was nothing.")
    reports_keep_days: _Days | None = Field(None, description="Reports that are older are deleted; unset: never.")
    uplinks_keep_days: _Days | None = Field(
        None, description="The same for uplinks, with their receptions and decodings."
    )
    telemetry_keep_days: _Days | None = Field(None, description="The same for measurements.")
    locations_keep_days: _Days | None = Field(None, description="The same for positions.")
    notifications_keep_days: _Days | None = Field(None, description="The same for notifications.")
    events_keep_days: _Days = Field(
        7, description="Events are kept so long: from there on streams and forwarders can go back."
    )
    rejections_keep_days: _Days | None = Field(None, description="The same for rejections, beside their bounds.")
    alarms_keep_days: _Days = Field(
        365, description="Alarms that are cleared and that no network lists any more are deleted after so long."
    )
    traffic_keep_days: _Days = Field(90, description="Traffic, as the networks count it, is kept so long.")
    poll_alarms_minutes: Annotated[float, Field(ge=0, le=1440, allow_inf_nan=False)] = Field(
        5, description="How often the networks are asked for alarms; 0: never."
    )
    poll_traffic_hours: Annotated[float, Field(ge=0, le=168, allow_inf_nan=False)] = Field(
        6,
        description="How often they are asked for each device's traffic, a week at most: they give no more. 0: never.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="debug, info, warning, error or critical."
    )
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = Field(
        "console", description="console or json."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what the caller gives, the environment, the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=_read_config())

    @property
    def resolved_database_url(self) -> str:
        """The URL for SQLAlchemy: the one that was set, else the SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir / 'receiver.db'}"

    @property
    def spool_path(self) -> Path:
        """The file that takes pushes while the database is away."""
        return self.data_dir / "spool.db"

    @property
    def connections_cache_path(self) -> Path:
        """The file that connections are known by while the database is away."""
        return self.data_dir / "connections.cache"

    @property
    def keep_ages(self) -> dict[str, timedelta]:
        """How long rows are kept, by table; a table that is kept for ever is not in it."""
        days = {
            "reports": self.reports_keep_days,
            "uplinks": self.uplinks_keep_days,
            "locations": self.locations_keep_days,
            "notifications": self.notifications_keep_days,
            "rejections": self.rejections_keep_days,
            "telemetry": self.telemetry_keep_days,
            "events": self.events_keep_days,
            "alarms": self.alarms_keep_days,
            "traffic": self.traffic_keep_days,
        }
        return {noun: timedelta(days=number) for noun, number in days.items() if number is not None}

    def open_keyring(self) -> Keyring:
        """Give the keyring of `kek`, else of `kek_file`, else of the data directory's key, made on first use.

        Raises:
            KeyringError: the file that was set is not there or holds no key.
            SettingsError: the data directory cannot be written.
        """
        if self.kek is not None:
            return Keyring(parse_kek(self.kek.get_secret_value()))
        if self.kek_file is not None:
            return Keyring(load_kek(self.kek_file))
        try:
            return Keyring(load_or_create_kek(self.data_dir / "kek"))
        except OSError as exc:
            raise SettingsError(
                f"The key-encryption key cannot be made in {self.data_dir}: {exc.strerror or exc}."
                f" Set {ENV_PREFIX}DATA_DIR to a directory that can be written, or {ENV_PREFIX}KEK_FILE."
            ) from exc


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - each is checked as its setting
    """Give the settings; `overrides` (by field name) go before the environment and the file.

    Raises:
        SettingsError: names every setting that is wrong, by its variable, and why.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        problems = [_explain(error) for error in exc.errors(include_url=False)]
        how_many = "A setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        raise SettingsError(f"{how_many}: {'; '.join(problems)}.") from None  # its text could show a value


def _explain(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name} is not the name of a setting"
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    value = "" if name in _NOT_SHOWN else f" (it is {error['input']!r})"
    return f"{ENV_PREFIX}{name.upper()} {reason}{value}"


def _read_config() -> dict[str, Any]:
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named).expanduser() if named else DEFAULT_CONFIG
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        if named:
            raise SettingsError(f"{CONFIG_VARIABLE} names {path}, and there is no such file.") from exc
        return {}
    except tomllib.TOMLDecodeError as exc:
        # Only the place: the library's sentence quotes the text, and that may be a key.
        place = str(exc).rpartition("(")[2].rstrip(")") if "(" in str(exc) else "somewhere"
        raise SettingsError(f"The settings file {path} is not TOML: there is a mistake {place}.") from None
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"The settings file {path} cannot be read: {reason}.") from exc
