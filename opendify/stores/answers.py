"""What is kept of requests that a client may repeat: that they began, and for a while how they ended."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

NOT_KEPT = b""
"""The outcome of a request that ended, and how is not known any more: it took too much room."""


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One request under the key by which its repeats find it, and its outcome.

    `id` is the one that the client sees in the answer; nobody but the request's holder
    writes under it. `fingerprint` is the digest of what was asked, empty where nobody can ask
    it again, `user` Dify's. Times are Unix seconds. An `outcome` of None is still to come, for as
    long as `claimed_until` has not passed: after that, its holder died.
    """

    id: str
    key: str
    fingerprint: str
    user: str
    begun_at: float
    claimed_until: float
    expires_at: float
    outcome: bytes | None = None


class AnswerStore(Protocol):
    """Shared by all threads, processes and machines that may get a repeat.

    What has expired is never found, and is deleted by `clean_up` at the latest. Every
    method may raise `StoreUnavailable`.
    """

    def begin(self, answer: StoredAnswer, *, now: float, anew: bool) -> StoredAnswer | None:
        """Note a request that begins, and return None; or the newest under its key, if there is one.

        Of several that begin at once, one does. `anew` notes it without looking.
        """
        ...

    def find(self, id: str, *, now: float) -> StoredAnswer | None:
        """One request."""
        ...

    def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
        """These requests still go on; nothing happens to one that ended."""
        ...

    def finish(self, id: str, outcome: bytes, *, now: float, expires_at: float) -> None:
        """The request ended so; nothing happens to one that ended before, or was forgotten."""
        ...

    def forget(self, id: str) -> None:
        """The request never began: a repeat may."""
        ...

    def delete_of_user(self, user: str) -> int:
        """Forget everything of one Dify user; how many."""
        ...

    def clean_up(self, *, now: float, most_bytes: int) -> int:
        """Delete what has expired, and the oldest outcomes of what is too much; how many are left.

        A request whose outcome is deleted before its time is still known to have ended; of what
        has no `fingerprint`, which nobody repeats, nothing is left.
        """
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...
