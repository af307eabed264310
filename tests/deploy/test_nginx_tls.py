"""The site for the open internet, served by the real nginx before two real instances."""

import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from opendify.app import create_app
from opendify.simulator import SimulatorOptions, create_simulator
from tests.fakes.programs import PROJECT
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until
from tests.resilience.nginx import NGINX, write_configuration
from tests.stores.servers import free_port

SITE = PROJECT / "deploy/nginx/opendify-tls.conf"
QUESTION = {"model": "bot", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass(frozen=True)
class Site:
    """The ports of a running nginx, and who signed its certificate."""

    plain: int
    encrypted: int
    authority: ssl.SSLContext

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://localhost:{self.encrypted}", verify=self.authority, trust_env=False
        )


def site_for(folder: Path, *, stable: int, canary: int, plain: int, encrypted: int, share: str) -> str:
    """The shipped file, which differs in nothing but addresses, certificates and the canary's share."""
    text = SITE.read_text(encoding="utf-8")
    changes = {
        r"127\.0\.0\.1:500[12]": f"127.0.0.1:{stable}",
        r"127\.0\.0\.1:5003": f"127.0.0.1:{canary}",
        r"listen 80;": f"listen 127.0.0.1:{plain};",
        r"listen 443 ssl http2;": f"listen 127.0.0.1:{encrypted} ssl http2;",
        r"opendify\.example\.com": "localhost",
        r"/etc/nginx/tls": str(folder),
        r"# 10% ": f"{share} " if share else "# 10% ",
    }
    for pattern, replacement in changes.items():
        text, found = re.subn(pattern, replacement, text)
        assert found, pattern
    return text


@pytest.fixture(scope="module")
def instances() -> Iterator[tuple[int, int]]:
    """The ports of two instances: one that answers, and one whose model has another name."""
    with ExitStack() as stack:
        dify = stack.enter_context(served(create_simulator(SimulatorOptions(token_delay_seconds=0.05))))
        for_dify = {"DIFY_API_BASE": f"{dify}/v1"}
        urls = [
            stack.enter_context(served(create_app(make_settings({name: "app-demo-chat"}, **for_dify))))
            for name in ("bot", "new-bot")
        ]
        ports = [int(url.rpartition(":")[2]) for url in urls]
        yield ports[0], ports[1]


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path, instances: tuple[int, int]) -> Iterator[Site]:
    """nginx with the share of clients for the canary that a test asks for, by default none."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(tmp_path / "fullchain.pem", append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    plain, encrypted = free_port(), free_port()
    site = site_for(
        tmp_path,
        stable=instances[0],
        canary=instances[1],
        plain=plain,
        encrypted=encrypted,
        share=getattr(request, "param", ""),
    )
    configuration = write_configuration(tmp_path, site)
    with subprocess.Popen([str(NGINX), "-p", tmp_path, "-c", configuration]) as nginx:
        try:
            assert wait_until(lambda: (tmp_path / "pid").exists(), 10)
            yield Site(plain, encrypted, trusting)
        finally:
            nginx.terminate()


def models(site: Site) -> list[str]:
    with site.client() as client:
        return [each["id"] for each in client.get("/v1/models").json()["data"]]


def test_what_comes_unencrypted_is_sent_to_the_other_port(running: Site) -> None:
    answer = httpx.get(
        f"http://127.0.0.1:{running.plain}/v1/models", headers={"Host": "localhost"}, trust_env=False
    )

    assert (answer.status_code, answer.headers["Location"]) == (301, "https://localhost/v1/models")


def test_browsers_are_told_to_stay_encrypted(running: Site) -> None:
    with running.client() as client:
        assert client.get("/v1/models").headers["Strict-Transport-Security"] == "max-age=63072000"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(running: Site) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError):
        http.client.HTTPSConnection("127.0.0.1", running.encrypted, context=old, timeout=10).connect()


def test_a_stream_passes_event_by_event(running: Site) -> None:
    with (
        running.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**QUESTION, "stream": True}) as stream,
    ):
        pieces = list(stream.iter_raw())

    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    assert len(pieces) > 3


def test_a_body_that_is_too_large_is_refused_in_openais_words(running: Site) -> None:
    to_nginx = http.client.HTTPSConnection(
        "localhost", running.encrypted, context=running.authority, timeout=10
    )
    with closing(to_nginx):
        to_nginx.putrequest("POST", "/v1/chat/completions")
        to_nginx.putheader("Content-Length", str(60 * 1024**2))
        to_nginx.endheaders()
        answer = to_nginx.getresponse()

        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "request_too_large"


def test_an_error_of_the_service_passes_as_it_is(running: Site) -> None:
    with running.client() as client:
        answer = client.post("/v1/chat/completions", json={**QUESTION, "model": "nobody"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_nginx_tells_of_its_own_life_apart_from_the_services(running: Site) -> None:
    with running.client() as client:
        assert client.get("/nginx-health").text == "ok\n"
        assert client.get("/health/live").json() == {"status": "ok"}


def test_metrics_are_not_for_the_world(running: Site) -> None:
    with running.client() as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/nginx-health").text == "ok\n"


@pytest.mark.parametrize(("running", "expected"), [("", "bot"), ("99.99%", "new-bot")], indirect=["running"])
def test_the_canary_gets_its_share(running: Site, expected: str) -> None:
    assert models(running) == [expected]


def test_every_message_is_one_of_openais_errors() -> None:
    bodies = re.findall(r"return \d+ '(\{.*\})';", SITE.read_text(encoding="utf-8"))

    assert len(bodies) == 3
    assert all(set(json.loads(body)["error"]) == {"message", "type", "param", "code"} for body in bodies)
