"""The machine and the server around the app: port, keys, limits, proxies."""

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.request import getproxies

from opendify.doctor.findings import Finding, advice, ok, problem
from opendify.settings import ServerSettings, Settings

_PROXIED = frozenset({"http", "https", "all"})
# A stream holds one connection to its client and one to Dify; some files are always open.
_FILES_PER_THREAD = 2
_FILES_BESIDE = 100
_PATIENCE_SECONDS = 3.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - What may be set, not what is bound.


def examine_server(settings: Settings, server: ServerSettings) -> Iterator[Finding]:
    """What can be said before anything is contacted."""
    yield ok(
        "configuration",
        f"{len(settings.models)} models, {settings.environment}, "
        f"{server.workers} workers with {server.threads} threads",
    )
    yield _examine_port(server, settings.url_prefix)
    yield _examine_keys(settings, server)
    yield from _examine_open_files(server)
    yield from _examine_proxies()


def _examine_port(server: ServerSettings, prefix: str) -> Finding:
    subject = f"port {server.port}"
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as listener:
        # As the server itself does, so that connections of the last run are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host, server.port))
        except OSError as fault:
            if running := _running_service(server, prefix):
                return ok(subject, f"{running} serves there")
            return problem(
                subject,
                f"cannot be listened on at {server.host}: {fault.strerror}; no OpenDify answers there",
                "end the program that has it, or set SERVER_PORT or SERVER_HOST",
            )
    return ok(subject, f"free on {server.host}")


def _running_service(server: ServerSettings, prefix: str) -> str | None:
    """What an OpenDify at the service's own address says of itself; None where there is none."""
    host = _EVERYWHERE.get(server.host, server.host)
    try:
        connection = HTTPConnection(host, server.port, timeout=_PATIENCE_SECONDS)
        with closing(connection):
            connection.request("GET", f"{prefix}/")
            said = json.loads(connection.getresponse().read(1_000))
        return f"OpenDify {said['version']}" if said["name"] == "OpenDify" else None
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None


def _examine_keys(settings: Settings, server: ServerSettings) -> Finding:
    if settings.auth_mode == "open":
        if server.host in {"127.0.0.1", "::1", "localhost"}:
            return ok("keys", "any key is accepted, from this machine alone")
        return advice(
            "keys",
            f"any key is accepted, and none, by whoever reaches {server.host}",
            "set AUTH_MODE=keys, unless only trusted machines reach it",
        )
    if settings.api_keys:
        return ok("keys", f"{len(settings.api_keys)} in API_KEYS")
    if settings.environment == "development":
        return ok("keys", "none are needed in development on this machine")
    file = settings.data_dir / "api-key"
    return ok(
        "keys",
        f"the first start made one in {file}" if file.exists() else f"the first start makes one in {file}",
    )


def _examine_open_files(server: ServerSettings) -> Iterator[Finding]:
    needed = server.threads * _FILES_PER_THREAD + _FILES_BESIDE
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < needed:
        yield problem(
            "open files",
            f"a worker may open {limit}, and needs {needed}",
            "raise the limit (`ulimit -n`, LimitNOFILE=, `ulimits:`), or lower GUNICORN_THREADS",
        )


def _examine_proxies() -> Iterator[Finding]:
    # As the client to Dify finds them.
    named = sorted(f"{kind.upper()}_PROXY" for kind in getproxies() if kind in _PROXIED)
    if named:
        yield advice(
            "proxy",
            f"{', '.join(named)} of the environment is used for Dify",
            "list Dify's host in NO_PROXY if it is reached directly, which is also faster",
        )
