"""Whose certificates count, and who shares them."""

import ssl
from pathlib import Path

import pytest
import trustme

from opendify.dify.trust import Trust
from opendify.settings import DifyApp


def app(api_base: str, ca_file: Path | None = None) -> DifyApp:
    return DifyApp(name="chat", api_key="app-1", api_base=api_base, ca_file=ca_file)


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return file


def test_plain_http_needs_no_certificates_and_trusts_nobody() -> None:
    context = Trust().context_for(app("http://dify.example/v1"))

    assert context.get_ca_certs() == []
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_apps_that_trust_the_same_share_a_context(ca_file: Path) -> None:
    trust = Trust()

    one, other = (trust.context_for(app(f"https://{host}.example/v1")) for host in ("one", "other"))
    private = trust.context_for(app("https://one.example/v1", ca_file))

    assert one is other
    assert private is not one
    assert len(private.get_ca_certs()) == 1


def test_a_file_that_is_read_before_the_fork_is_not_read_again(ca_file: Path) -> None:
    trust = Trust()
    trust.read_for([app("https://dify.example/v1", ca_file)])
    ca_file.unlink()

    assert trust.context_for(app("https://dify.example/v1", ca_file)).get_ca_certs()


def test_a_file_that_cannot_be_read_is_told_to_who_asks_and_stops_nobody_else(ca_file: Path) -> None:
    trust = Trust()
    missing = app("https://dify.example/v1", ca_file.with_name("missing.pem"))

    trust.read_for([missing, app("https://other.example/v1", ca_file)])

    with pytest.raises(FileNotFoundError):
        trust.context_for(missing)
    ca_file.unlink()
    assert trust.context_for(app("https://other.example/v1", ca_file)).get_ca_certs()
