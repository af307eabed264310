"""What a key looks like: `sk-od-ID-SECRET`, the id for finding it, the secret for proving it."""

import hashlib
import re
import secrets
from typing import Final

_OURS: Final = re.compile(r"sk-od-(?P<id>[0-9a-f]{12})-[A-Za-z0-9_-]{43}")
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
SHORTEST_FOREIGN: Final = 16
"""Characters of a key that was made elsewhere: a digest of less can be guessed."""


def new_id() -> str:
    """An id that nobody has."""
    return secrets.token_hex(_ID_BYTES)


def new_key(id: str) -> str:  # noqa: A002 - As in the key.
    """A key of 256 random bits."""
    return f"sk-od-{id}-{secrets.token_urlsafe(_SECRET_BYTES)}"


def is_own_key(key: str) -> bool:
    """Whether a key was made here, or looks so."""
    return _OURS.fullmatch(key) is not None


def id_of(key: str) -> str:
    """Under which id a key is found; one that was made elsewhere is found by its digest."""
    ours = _OURS.fullmatch(key)
    return ours["id"] if ours else key_digest(key).hex()[: 2 * _ID_BYTES]


def key_digest(key: str) -> bytes:
    """What is stored of a key: a fast digest is enough, since nobody guesses 256 bits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def masked(key: str) -> str:
    """As much of a key as its owner needs to recognise it, and nobody can use."""
    return f"{key[:3]}***{key[-2:]}" if len(key) >= 12 else "***"
