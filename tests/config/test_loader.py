"""Claims about reading a config."""

from pathlib import Path
from typing import Any

import pytest

from homeserver.config import Config, ConfigError, from_mapping, load

MINIMAL = {"server": {"name": "hearth.test"}}


def with_(**sections: Any) -> dict[str, Any]:
    return {**MINIMAL, **sections}


def problems_of(data: object, folder: Path | str = ".", environment: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        from_mapping(data, folder, environment)
    return {problem.path: problem.message for problem in error.value.problems}


def test_a_server_name_is_enough(tmp_path: Path) -> None:
    config = from_mapping(MINIMAL, tmp_path)
    assert config.server_name == "hearth.test"
    assert config.server.signing_key == str(tmp_path / "data" / "signing.key")
    assert config.media.path == str(tmp_path / "data" / "media")
    assert config.database.url == f"sqlite:///{tmp_path}/data/hearth.db"
    assert config.public_base_url == "https://hearth.test/"
    assert (config.listeners[0].bind, config.listeners[0].port) == (("127.0.0.1",), 8008)
    assert not config.registration.enabled


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hearth.yaml"
    file.write_text("server: {name: hearth.test, data_dir: here}\nmedia: {path: /else/where}\n")
    config = load(file, {})
    assert config.data_dir == tmp_path / "here"
    assert config.media.path == "/else/where"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (30, 30),
        (0.5, 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1.5h", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("250ms", 0.25),
    ],
)
def test_durations_are_written_as_people_do(written: Any, seconds: float) -> None:
    assert from_mapping(with_(federation={"request_timeout": written})).federation.request_timeout == seconds


@pytest.mark.parametrize(
    ("written", "size"), [(100_000, 100_000), ("64K", 65_536), ("50M", 52_428_800), ("1GiB", 1 << 30)]
)
def test_sizes_are_written_as_people_do(written: Any, size: int) -> None:
    assert from_mapping(with_(media={"max_upload_size": written})).media.max_upload_size == size


def test_every_problem_is_told_at_once_by_its_path() -> None:
    problems = problems_of(
        {
            "server": {"nam": "hearth.test"},
            "listeners": [{"port": "eighty"}, {"port": 1, "kinds": ["clint"]}],
            "registration": {"enabled": "yes"},
            "media": {"max_upload_size": "5Q", "thumbnails": [{"width": 1, "method": "crop"}]},
            "rate_limits": {"login": {"per_second": -1}},
            "presence": "on",
            "coffee": {},
        }
    )
    assert problems == {
        "server.nam": "there is no such option; did you mean name?",
        "server.name": "expected a value, as it has no default; found nothing",
        "listeners[0].port": "expected a whole number, found 'eighty'",
        "listeners[1].kinds[0]": "expected one of client, federation, metrics, found 'clint'",
        "registration.enabled": "expected true or false, found 'yes'",
        "media.max_upload_size": "expected a size such as 64K, 50M or 2G, found '5Q'",
        "media.thumbnails[0].height": "expected a value, as it has no default; found nothing",
        "rate_limits.login.per_second": "expected at least 0, found -1",
        "presence": "expected a mapping of options, found 'on'",
        "coffee": problems["coffee"],
    }
    assert problems["coffee"].startswith("there is no such option; there are: server, listeners")


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_file_that_is_no_mapping_is_refused(data: object) -> None:
    assert problems_of(data)


def test_yaml_that_cannot_be_parsed_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "hearth.yaml"
    file.write_text("server:\n  name: [hearth.test\n")
    with pytest.raises(ConfigError, match=r"line 3, column 1: expected YAML"):
        load(file, {})


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml", {})


def test_environment_overrides_the_file() -> None:
    environment = {
        "HEARTH__SERVER__NAME": "other.test",
        "HEARTH__REGISTRATION__ENABLED": "true",
        "HEARTH__REGISTRATION__SHARED_SECRET": "0123",
        "HEARTH__RATE_LIMITS__LOGIN__BURST": "3",
        "HEARTH__LISTENERS": "[{port: 9000}]",
        "HEARTH__WORKERS": "1",
        "HEARTH_CONFIG": "ignored",
    }
    config = from_mapping(with_(rate_limits={"login": {"per_second": 5}}), ".", environment)
    assert config.server_name == "other.test"
    assert config.registration.enabled is True
    assert config.registration.shared_secret == "0123", "a text stays as it was written"
    assert (config.rate_limits.login.per_second, config.rate_limits.login.burst) == (5, 3)
    assert config.listeners[0].port == 9000


def test_wrong_environment_is_told_by_the_path_it_means() -> None:
    assert problems_of(MINIMAL, ".", {"HEARTH__WORKERS": "many"}) == {
        "workers": "expected a whole number, found 'many'"
    }
    assert "server.nmae" in problems_of(MINIMAL, ".", {"HEARTH__SERVER__NMAE": "x"})


def test_secrets_may_be_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    config = from_mapping(with_(registration={"shared_secret_file": "secret"}), tmp_path)
    assert config.registration.shared_secret == "sesame"
    config = from_mapping(MINIMAL, tmp_path, {"HEARTH__REGISTRATION__SHARED_SECRET_FILE": "secret"})
    assert config.registration.shared_secret == "sesame"


def test_secret_given_twice_or_by_a_missing_file_is_refused(tmp_path: Path) -> None:
    both = problems_of(with_(registration={"shared_secret": "a", "shared_secret_file": "b"}), tmp_path)
    assert "give one of the two" in both["registration.shared_secret_file"]
    missing = problems_of(with_(redis={"url_file": "b"}), tmp_path)
    assert "No such file" in missing["redis.url_file"]


def test_problem_with_a_secret_does_not_show_it() -> None:
    assert "hunter2" not in str(problems_of(with_(registration={"shared_secret": ["hunter2"]})))


def test_file_option_exists_for_secrets_only() -> None:
    assert "no such option" in problems_of(with_(server={"name": "a", "name_file": "b"}))["server.name_file"]


def test_one_text_may_stand_for_a_list() -> None:
    assert from_mapping(with_(federation={"denied_servers": "evil.test"})).federation.denied_servers == ("evil.test",)


def test_bare_off_is_the_word_off() -> None:
    assert from_mapping(with_(rooms={"encryption_default": False})).rooms.encryption_default == "off"


def test_several_workers_need_postgresql_and_redis() -> None:
    with pytest.raises(ConfigError) as error:
        from_mapping(with_(workers=2))
    text = str(error.value)
    assert "several processes need PostgreSQL (database.url)" in text
    assert "several processes need Redis (redis.url)" in text
    config = from_mapping(
        with_(workers=2, database={"url": "postgresql://h/db"}, redis={"url": "redis://h"}),
    )
    assert config.workers == 2


def test_several_workers_listen_at_ports_only() -> None:
    shared = {"workers": 2, "database": {"url": "postgresql://h/db"}, "redis": {"url": "redis://h"}}
    found = problems_of(with_(**shared, listeners=[{"unix_socket": "/run/hearth.sock", "kinds": ["client"]}]))
    assert list(found) == ["listeners[0].unix_socket"]


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"server": {"name": "not a name"}}, "server.name"),
        ({"server": {"name": "a", "public_base_url": "hearth.test"}}, "server.public_base_url"),
        ({"listeners": []}, "listeners"),
        ({"listeners": [{}]}, "listeners[0]"),
        ({"listeners": [{"port": 1, "unix_socket": "x"}]}, "listeners[0]"),
        ({"listeners": [{"port": 70_000}]}, "listeners[0].port"),
        ({"listeners": [{"port": 1, "tls_key": "/dev/null"}]}, "listeners[0]"),
        ({"listeners": [{"port": 1, "tls_key": "/none", "tls_certificate": "/dev/null"}]}, "listeners[0].tls_key"),
        ({"listeners": [{"port": 1, "bind": ["here"]}]}, "listeners[0].bind[0]"),
        ({"listeners": [{"unix_socket": "x", "unix_socket_mode": "rw"}]}, "listeners[0].unix_socket_mode"),
        ({"database": {"url": "mysql://x"}}, "database.url"),
        ({"redis": {"url": "http://x"}}, "redis.url"),
        ({"federation": {"ca_files": ["/none"]}}, "federation.ca_files[0]"),
        ({"appservices": {"registrations": ["/none"]}}, "appservices.registrations[0]"),
    ],
)
def test_contradictions_are_found(sections: dict[str, Any], path: str) -> None:
    assert path in problems_of(with_(**sections))


def test_config_cannot_be_changed() -> None:
    config = from_mapping(MINIMAL)
    with pytest.raises(AttributeError):
        config.server.name = "other"  # type: ignore[misc]
    assert isinstance(config, Config)


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"registration": {"requires_email": True}}, "registration.requires_email"),
        ({"registration": {"captcha": {"site_key": "x"}}}, "registration.captcha"),
        ({"registration": {"auto_join_rooms": ["welcome"]}}, "registration.auto_join_rooms[0]"),
        ({"registration": {"auto_join_creator": "@a:b"}}, "registration.auto_join_creator"),
        ({"server_notices": {"localpart": "@a:b"}}, "server_notices.localpart"),
        ({"server_notices": {"localpart": "x" * 255}}, "server_notices.localpart"),
        ({"server_notices": {"avatar_url": "https://a.test/a.png"}}, "server_notices.avatar_url"),
        ({"server_notices": {"room_avatar_url": "a.png"}}, "server_notices.room_avatar_url"),
        ({"registration": {"terms": [{"id": "a", "name": "A", "url": "javascript:x"}]}}, "registration.terms[0].url"),
        ({"registration": {"terms": [{"id": "a", "name": "A", "url": "https://a/"}] * 2}}, "registration.terms"),
        ({"registration": {"enabled": True}, "sessions": {"password_login": False}}, "sessions.password_login"),
        ({"sso": {"allowed_redirects": ["https://app.test"]}}, "sso.allowed_redirects[0]"),
        ({"sso": {"providers": [{"id": "a b"}]}}, "sso.providers[0].name"),
    ],
)
def test_contradictions_about_accounts_are_told(sections: dict[str, Any], path: str) -> None:
    assert path in problems_of(with_(**sections))


PROVIDER = {"id": "a", "name": "A", "issuer": "https://id.test/", "client_id": "hearth"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"id": "a b"}, "id"),
        ({"issuer": "http://id.test/"}, "issuer"),
        ({"issuer": "https://"}, "issuer"),
        ({"scopes": ["profile"]}, "scopes"),
        ({"icon": "https://x/y.png"}, "icon"),
        ({"client_auth": "basic"}, "client_secret"),
        ({"localpart": ""}, "localpart"),
    ],
)
def test_contradictions_about_a_provider_are_told(options: dict[str, Any], name: str) -> None:
    assert f"sso.providers[0].{name}" in problems_of(with_(sso={"providers": [{**PROVIDER, **options}]}))


def test_two_providers_have_two_ids() -> None:
    assert "sso.providers[1].id" in problems_of(with_(sso={"providers": [PROVIDER, PROVIDER]}))
    assert len(from_mapping(with_(sso={"providers": [PROVIDER, {**PROVIDER, "id": "b"}]})).sso.providers) == 2
