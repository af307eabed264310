"""The many ways in which clients write our URLs → the one that is routed.

People paste base URLs with and without `/v1`, clients append it again, Azure's SDK
puts the model into the path. A redirect would turn a POST into a GET, so every
form is served as it comes.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DEPLOYMENT = "opendify.deployment"
ORIGINAL_PATH = "opendify.original_path"

_RESOURCES = "models|chat|completions|responses|conversations?|files|audio|embeddings|moderations|images|dify"
_WITHOUT_VERSION = re.compile(rf"/(?:{_RESOURCES})(?:/|$)")
_AZURE_DEPLOYMENT = re.compile(
    r"/openai/deployments/(?P<model>.+?)/(?P<rest>(?:chat/)?completions|audio/.+|embeddings)"
)


@dataclass(frozen=True, slots=True)
class CanonicalPath:
    """`deployment` is the model in an Azure path, empty elsewhere."""

    path: str
    deployment: str = ""


def canonical_path(path: str) -> CanonicalPath:
    """The routed form of `path`, which is decoded and below the URL prefix."""
    path = path.rstrip("/") or "/"
    azure = _AZURE_DEPLOYMENT.fullmatch(path)
    if azure:
        return CanonicalPath(f"/v1/{azure['rest']}", azure["model"])
    path = re.sub(r"^/openai(?=/|$)", "", path)
    path = re.sub(r"^(/v1)+(?=/|$)", "/v1", path)
    if _WITHOUT_VERSION.match(path):
        path = f"/v1{path}"
    return CanonicalPath("/" if path in ("", "/v1") else path)


class CanonicalPaths:
    """WSGI middleware that rewrites `PATH_INFO`, and serves only what lies below `url_prefix`."""

    def __init__(self, app: "WSGIApplication", url_prefix: str) -> None:
        self._app = app
        self._url_prefix = url_prefix

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""
        route = _route(environ.get("PATH_INFO", ""), self._url_prefix)
        environ[ORIGINAL_PATH], environ["PATH_INFO"], environ[DEPLOYMENT] = route
        return self._app(environ, start_response)


@functools.lru_cache(maxsize=256)
def _route(path_info: str, prefix: str) -> tuple[str, str, str]:
    """What the environment is told of a path: as it came, as it is routed, and its deployment."""
    # WSGI carries the path's bytes as Latin-1.
    path = path_info.encode("latin-1").decode("utf-8", "replace")
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        canonical = canonical_path(path[len(prefix) :])
    elif prefix:
        canonical = CanonicalPath("/-/outside-of-url-prefix")
    else:
        canonical = canonical_path(path)
    return path, canonical.path.encode().decode("latin-1"), canonical.deployment
