"""What a request tells of being sent before: the headers of clients that retry."""

import hashlib

import msgspec

from opendify.conversations.identity import ClientContext
from opendify.records import Caller, Headers

IDEMPOTENCY_HEADER = "Idempotency-Key"
# OpenAI's SDKs count their own retries: 0 is the first try.
RETRY_HEADER = "x-stainless-retry-count"


class Attempt(msgspec.Struct, frozen=True):
    """One sending of a request. `key` is what it shares with its repeats, `fingerprint` what it asks.

    The first try of an SDK looks for nothing: the same words, asked once more, are a new
    request. One with an `Idempotency-Key` always looks.
    """

    key: str
    fingerprint: str
    is_first: bool = False
    has_idempotency_key: bool = False


class Question(msgspec.Struct, frozen=True):
    """Everything that decides what is asked: where it was sent, for whom, and the raw body."""

    path: str
    deployment: str
    context: ClientContext
    body: bytes


def read_attempt(headers: Headers, caller: Caller, question: Question) -> Attempt | None:
    """None where the client gives no sign that it would ever repeat: then nothing is kept."""
    named = (headers.get(IDEMPOTENCY_HEADER) or "").strip()
    count = (headers.get(RETRY_HEADER) or "").strip()
    if not named and not (count.isascii() and count.isdigit()):
        return None
    fingerprint = _digest(question.path, question.deployment, repr(question.context), question.body)
    if named:
        key = _digest(caller.id, IDEMPOTENCY_HEADER, named)
        return Attempt(key, fingerprint, has_idempotency_key=True)
    return Attempt(_digest(caller.id, fingerprint), fingerprint, is_first=not count.strip("0"))


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode("utf-8", "backslashreplace")
        # With its length in front no part can run into the next.
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return digest.hexdigest()
