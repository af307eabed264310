"""Who speaks: the person behind a request, as headers and body tell it."""

import hashlib
from dataclasses import dataclass

from opendify.records import Caller, Headers

MAX_USER_BYTES = 255
_USER_HEADERS = ("X-OpenWebUI-User-Id",)


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What a request tells of its sender; empty where it tells nothing."""

    user: str = ""


def read_client_context(headers: Headers, *body_users: str | None) -> ClientContext:
    """The person: the first known header, then the body's own fields in the given order."""
    from_headers = (headers.get(name) for name in _USER_HEADERS)
    named = (value.strip() for value in (*from_headers, *body_users) if value and value.strip())
    return ClientContext(user=next(named, ""))


def dify_user(context: ClientContext, caller: Caller, prefix: str) -> str:
    """Dify's `user`: stable, at most 255 bytes, never shared by two callers.

    A name too long for Dify keeps its start and ends in a digest of the whole.
    """
    name = f"{prefix}{caller.id}:{context.user}" if context.user else f"{prefix}{caller.id}"
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= MAX_USER_BYTES:
        return encoded.decode()
    digest = hashlib.sha256(encoded).hexdigest()[:32]
    return f"{encoded[: MAX_USER_BYTES - 33].decode('utf-8', 'ignore')}~{digest}"
