"""`CONVERSATION_STORE_URL` and what it may be."""

import subprocess
import sys
from pathlib import Path

import pytest

from opendify.stores import open_store
from opendify.stores.redis_client import read_redis_url
from opendify.stores.urls import sqlite_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/conversations.db", "/project/var/conversations.db"),
        ("sqlite:///var/conversations.db", "/project/var/conversations.db"),
        ("sqlite:///data/deeper/a%20name.db", "/project/var/deeper/a name.db"),
        ("sqlite:///elsewhere/conversations.db", "/project/elsewhere/conversations.db"),
        ("sqlite:///conversations.db", "/project/conversations.db"),
        ("sqlite:////srv/conversations.db", "/srv/conversations.db"),
    ],
)
def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    assert sqlite_path(url, Path("/project/var")) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "conversations.db",
        "mysql://name:secret@host/database",
        "sqlite://",
        "sqlite:///",
        "sqlite:///data/",
        "sqlite:///data",
        "sqlite:///:memory:",
        "sqlite://host/data/conversations.db",
        "sqlite:///data/conversations.db?mode=secret",
        "redis://",
        "redis://name:secret@host:port/0",
        "redis://name:secret@host/zero",
        "redis://name:secret@host/0/1",
        "redis://name:secret@host/0?surprise=secret",
        "redis+socket://name:secret@host",
        "redis+sentinel://name:secret@host:26379",
        "redis+sentinel://name:secret@host:26379,/master",
        "redis+cluster://name:secret@host:6379/3",
        "postgresql://name:secret@host:port/database",
        "postgresql://name:secret@host/database?surprise=secret",
    ],
)
def test_a_wrong_url_is_refused_in_one_line_without_its_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        open_store(url, tmp_path / "data")

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sentinel_url_is_taken_apart() -> None:
    address = read_redis_url(
        "rediss+sentinel://na%40me:s%3Aecret@one,two:1234/master/2?ssl_ca_certs=%2Fca.pem"
    )

    assert (address.kind, address.service, address.database) == ("sentinel", "master", 2)
    assert address.hosts == (("one", 26379), ("two", 1234))
    assert (address.username, address.password) == ("na@me", "s:ecret")
    assert (address.uses_tls, address.tls_options) == (True, {"ssl_ca_certs": "/ca.pem"})


def test_hosts_of_a_cluster_may_be_ipv6_addresses() -> None:
    address = read_redis_url("redis+cluster://name:secret@one,[::1]:7000,[::2]")

    assert address.hosts == (("one", 6379), ("::1", 7000), ("::2", 6379))
    assert (address.username, address.password) == ("name", "secret")


def test_no_address_shows_its_password_when_it_is_printed() -> None:
    assert "secret" not in repr(read_redis_url("redis+cluster://name:secret@one,[::1]:7000"))


@pytest.mark.parametrize(
    ("url", "driver"),
    [("sqlite:///data/c.db", "sqlite3"), ("redis://host", "redis"), ("postgresql://host", "psycopg")],
)
def test_only_the_driver_that_is_asked_for_is_imported(url: str, driver: str) -> None:
    code = (
        "import sys; from pathlib import Path; from opendify.stores import open_store; "
        "drivers = {'sqlite3', 'redis', 'psycopg', 'psycopg_pool'}; "
        "print(sorted(drivers & sys.modules.keys())); "
        f"open_store({url!r}, Path('data')); print(sorted(drivers & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    before, after = shown.splitlines()
    assert before == "[]"
    assert after in (f"['{driver}']", "['psycopg', 'psycopg_pool']")
