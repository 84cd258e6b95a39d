"""Which system a command is about: the one that the environment names, else the local set-up in its directory."""

from __future__ import annotations

import atexit
import os

from infra.settings import Settings, SettingsError

LOGINS = ("database", "writer", "projector", "reader", "relay")


def here(*needed: str) -> Settings:
    """Return the settings of this environment; where no database is set, those of the local set-up in its directory.

    Raises SettingsError, also for settings that are needed and not there.
    """
    settings = _here()
    for name in needed:
        settings.need(name)
    return settings


def with_kafka() -> Settings:
    """Return settings that name a Kafka broker: those of the environment, else those of the local set-up.

    Raises SettingsError, which says how to get a broker.
    """
    settings = Settings.from_environment()
    if settings.kafka_bootstrap_servers is not None:
        return settings
    try:
        return here("kafka_bootstrap_servers")
    except SettingsError as error:
        raise SettingsError(f"{error} (`fieldlog up --kafka` starts one here)") from None


def _here() -> Settings:
    settings = Settings.from_environment()
    if any(getattr(settings, f"{login}_url") is not None for login in LOGINS):
        return settings
    from infra.local.home import Home, has_home  # not before: where databases are set, the wheels need not be there

    if not has_home(settings.data):
        raise SettingsError(
            f"no FIELDLOG_*_URL is set and there is no local set-up in {settings.data}: run `fieldlog up`"
        )
    home = Home(settings.data)
    if home.postgres.start():
        atexit.register(home.postgres.stop)
    os.environ.update(home.environment_with_ours())  # an ASGI server makes its application from the environment
    return Settings.from_environment()
