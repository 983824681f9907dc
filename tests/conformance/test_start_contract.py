"""The config that start-homeserver writes is one that Hearth accepts."""

from pathlib import Path

import pytest

from homeserver.config.loader import from_mapping
from tests.conformance.write_config import config_from, merge


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in ("cert.pem", "key.pem", "ca.pem", "bridge.yaml"):
        (tmp_path / name).write_text("")
    return {
        "HS_NAME": "localhost:18448",
        "HS_DIR": str(tmp_path),
        "HS_CLIENT_PORT": "18008",
        "HS_FED_PORT": "18448",
        "HS_TLS_CERT": str(tmp_path / "cert.pem"),
        "HS_TLS_KEY": str(tmp_path / "key.pem"),
        "HS_CA_CERT": str(tmp_path / "ca.pem"),
    }


def test_least_environment_gives_an_open_server_on_sqlite(environment: dict[str, str]) -> None:
    config = from_mapping(config_from(environment))
    assert config.is_sqlite
    assert (config.registration.enabled, config.registration.requires_token) == (True, False)
    assert not config.rate_limits.enabled
    assert config.federation.allow_private_addresses


def test_every_variable_reaches_the_config(environment: dict[str, str], tmp_path: Path) -> None:
    more = {
        "HS_DB": "postgresql://postgres@localhost/hearth",
        "HS_REDIS": "redis://localhost",
        "HS_WORKERS": "2",
        "HS_SHARED_SECRET": "of the test",
        "HS_APPSERVICES": str(tmp_path / "bridge.yaml"),
    }
    config = from_mapping(config_from(environment | more))
    assert config.database.url == more["HS_DB"]
    assert config.redis.url == more["HS_REDIS"]
    assert config.workers == 2
    assert config.registration.shared_secret == "of the test"
    assert config.appservices.registrations == (more["HS_APPSERVICES"],)
    assert config.federation.ca_files == (environment["HS_CA_CERT"],)


def test_extra_config_is_merged_over_what_is_written(environment: dict[str, str]) -> None:
    config = config_from(environment)
    merge(config, {"registration": {"allow_guests": False}, "workers": 3})
    assert config["registration"]["allow_guests"] is False
    assert config["registration"]["enabled"] is True
    assert config["workers"] == 3
