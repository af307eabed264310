"""Clients for one Redis, for one behind sentinels, and for a cluster, by their URLs."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from opendify.stores.base import StoreUnavailable
from opendify.stores.redis_scripts import Argument, Script

TIMEOUT_SECONDS: Final = 1.0
_MAX_CONNECTIONS: Final = 32
_REFUSE_SECONDS: Final = 0.5
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})

Client = redis.Redis | RedisCluster


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """What a URL says. `kind` is `single`, `sentinel` or `cluster`."""

    kind: str
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None = field(repr=False)
    uses_tls: bool
    tls_options: dict[str, str]
    service: str
    database: int


def read_redis_url(url: str) -> RedisAddress:
    """Take a URL apart.

    Raises:
        ValueError: It is none of the forms that are known; no secret is shown.
    """
    try:
        parts, hosts = _split(url)
        base, _, kind = parts.scheme.lower().partition("+")
        service, database = _read_path(parts, kind)
        return RedisAddress(
            kind=kind or "single",
            url=url,
            hosts=tuple(_read_host(host, 26379 if kind == "sentinel" else 6379) for host in hosts),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            uses_tls=base == "rediss",
            tls_options=_read_query(parts, base),
            service=service,
            database=database,
        )
    except ValueError:
        raise ValueError(_FORMS) from None


def connect(address: RedisAddress) -> Client:
    """A client; that of a cluster asks a node for the others at once, the rest nothing yet."""
    # A script may have run before the connection broke, so that only the caller may ask again.
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
    if address.kind == "single":
        pool = redis.BlockingConnectionPool.from_url(
            address.url, max_connections=_MAX_CONNECTIONS, timeout=TIMEOUT_SECONDS, **options
        )
        return redis.Redis.from_pool(pool)
    options |= {"ssl": address.uses_tls, **address.tls_options}
    credentials: dict[str, Any] = {"username": address.username, "password": address.password}
    # redis-py has no annotations on these.
    if address.kind == "cluster":
        nodes = [ClusterNode(*host) for host in address.hosts]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, **options, **credentials)
    sentinels = Sentinel(address.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    client: redis.Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        address.service, db=address.database, **options, **credentials
    )
    return client


# By server: until when no store waits for it, since it let one of them wait for nothing.
_refused_until: Final[dict[tuple[tuple[str, int], ...], float]] = {}


class RedisScripts:
    """Runs scripts, with a client of each process's own; nothing is contacted before the first."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._by_process: dict[int, Client] = {}

    def run(self, script: Script, key: str, *arguments: Argument) -> object:
        """What the script returns; `key` tells a cluster's node.

        Raises:
            StoreUnavailable: Redis did not run it, or did not say so.
        """
        hosts = self._address.hosts
        with _errors_mapped(hosts):
            if monotonic() < _refused_until.get(hosts, 0.0):
                raise redis.ConnectionError("it did not answer a moment ago")
            client = self._client()
            try:
                return client.evalsha(script.sha, 1, key, *arguments)
            except redis.exceptions.NoScriptError:
                return client.eval(script.source, 1, key, *arguments)

    def close(self) -> None:
        """Close this process's connections."""
        client = self._by_process.pop(os.getpid(), None)
        if client is not None:
            with suppress(redis.RedisError, OSError):
                client.close()

    def _client(self) -> Client:
        # A child does not share its parent's sockets, nor locks that a thread may have held.
        pid = os.getpid()
        return self._by_process.get(pid) or self._by_process.setdefault(pid, connect(self._address))


@contextmanager
def _errors_mapped(hosts: tuple[tuple[str, int], ...]) -> Iterator[None]:
    try:
        yield
    except redis.exceptions.TimeoutError as error:
        _refused_until[hosts] = monotonic() + _REFUSE_SECONDS
        raise StoreUnavailable(f"Redis: {error}") from error
    # That of the cluster is no `RedisError`.
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
        raise StoreUnavailable(f"Redis: {error}") from error


_PLACE: Final = re.compile(r"[^:/?#]+://(?:[^/?#]*@)?(?P<hosts>[^/?#]*)")
_FORMS: Final = (
    "a Redis URL is redis://USER:PASSWORD@HOST:6379/0 (rediss:// with TLS, and ?ssl_ca_certs=PATH), "
    "redis+sentinel://HOST:26379,HOST:26379/SERVICE/0 or redis+cluster://HOST:6379,HOST:6379"
)


def _split(url: str) -> tuple[SplitResult, list[str]]:
    """The URL without its hosts, and these; Python refuses some that have more than one."""
    place = _PLACE.match(url)
    if not place:
        raise ValueError("no server is named")
    return urlsplit(url[: place.start("hosts")] + url[place.end() :]), place["hosts"].split(",")


def _read_host(text: str, default_port: int) -> tuple[str, int]:
    one = urlsplit(f"//{text}")
    if not one.hostname:
        raise ValueError("a host is missing")
    return one.hostname, one.port or default_port


def _read_query(parts: SplitResult, scheme: str) -> dict[str, str]:
    query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    if query and (scheme != "rediss" or not query.keys() <= _TLS_OPTIONS):
        raise ValueError("an option that means nothing")
    return query


def _read_path(parts: SplitResult, kind: str) -> tuple[str, int]:
    segments = [segment for segment in parts.path.split("/") if segment]
    match kind, segments:
        case "", ([] | [_]):
            return "", int(segments[0]) if segments else 0
        case "sentinel", [service]:
            return unquote(service), 0
        case "sentinel", [service, database]:
            return unquote(service), int(database)
        case "cluster", ([] | ["0"]):
            return "", 0
    raise ValueError("a path that means nothing")
