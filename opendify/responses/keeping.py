"""Responses that were answered, kept for those who ask for them by their id or go on from them."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from opendify.errors import ResponsesUnavailable
from opendify.records import Clock
from opendify.stores.answers import AnswerStore, StoredAnswer
from opendify.stores.base import StoreUnavailable
from opendify.telemetry.instruments import STORE_ERRORS
from opendify.wire.sse import encode_json

Json = dict[str, object]
"""A JSON object."""

# Who goes on for longer is told only of these; a replay would not have room for more.
MOST_EARLIER_RESPONSES: Final = 100
# Of one, and of a line, which may be longer by its oldest.
_MOST_BYTES: Final = 8 * 1024**2
_ID: Final = re.compile(r"resp_[0-9a-f]{24}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, whose it is, what it answered, and where it left its conversation.

    `response` and `input` are as the API shows them; files are there without their contents.
    `caller` is the key's id, `person` who the request named; the two ids are Dify's.
    """

    response: Json
    input: list[Json]
    caller: str
    person: str = ""
    conversation_id: str = ""
    message_id: str = ""

    @property
    def id(self) -> str:
        """The one that the client knows."""
        return str(self.response["id"])

    @property
    def output(self) -> list[Json]:
        """Its items."""
        return msgspec.convert(self.response["output"], list[Json])

    @property
    def previous_id(self) -> str:
        """The response from which it goes on; empty where it begins."""
        return str(self.response.get("previous_response_id") or "")


class KeptResponses:
    """Keeps them in the store of answers, under ids of their own beside what is kept for repeats."""

    def __init__(self, store: AnswerStore | None, *, ttl_seconds: float, now: Clock) -> None:
        """Without `store`, or without time to live, nothing is kept. `now` is Unix time."""
        self._store = store if ttl_seconds > 0 else None
        self._ttl_seconds = ttl_seconds
        self._now = now

    @property
    def are_kept(self) -> bool:
        """Whether there is any use in asking for it."""
        return self._store is not None

    def keep(self, kept: KeptResponse, user: str) -> None:
        """Keep it, if the store can; `user` is Dify's, by whom it can be deleted."""
        if self._store is None:
            return
        outcome = encode_json(msgspec.to_builtins(kept))
        if len(outcome) > _MOST_BYTES:
            logger.warning("a response is too large to be kept", extra={"bytes": len(outcome)})
            return
        key, now = _key(kept.id), self._now()
        until = now + self._ttl_seconds
        row = StoredAnswer(
            id=key, key=key, fingerprint="", user=user, begun_at=now, claimed_until=now, expires_at=until
        )
        try:
            # A repeat of the request was answered with the same.
            if self._store.begin(row, now=now, anew=False) is None:
                self._store.finish(key, outcome, now=now, expires_at=until)
        except StoreUnavailable:
            STORE_ERRORS.add("answers")
            logger.warning("a response could not be kept", exc_info=True)

    def find(self, response_id: str, caller: str) -> KeptResponse | None:
        """The caller's response with this id.

        Raises:
            ResponsesUnavailable: Nobody knows.
        """
        kept = _read(self._outcome(response_id))
        return kept if kept and kept.caller == caller else None

    def lineage(self, response_id: str, caller: str) -> Sequence[KeptResponse]:
        """The response behind those from which it goes on, as far as they are kept; empty without it.

        Raises:
            ResponsesUnavailable: Nobody knows.
        """
        found: list[KeptResponse] = []
        size = 0
        while response_id and len(found) < MOST_EARLIER_RESPONSES and size < _MOST_BYTES:
            outcome = self._outcome(response_id)
            kept = _read(outcome)
            if kept is None or kept.caller != caller:
                break
            found.append(kept)
            size += len(outcome)
            response_id = kept.previous_id
        return found[::-1]

    def _outcome(self, response_id: str) -> bytes:
        """Empty where nothing is kept under the id."""
        if self._store is None or not _ID.fullmatch(response_id):
            return b""
        with _outages_mapped():
            row = self._store.find(_key(response_id), now=self._now())
        return (row and row.outcome) or b""

    def forget(self, response_id: str) -> None:
        """Keep it no longer.

        Raises:
            ResponsesUnavailable: It may still be there.
        """
        if self._store is not None:
            with _outages_mapped():
                self._store.forget(_key(response_id))


def _key(response_id: str) -> str:
    # The id itself may be that of the row by which repeats find the answer.
    return f"response-{response_id}"


def _read(outcome: bytes) -> KeptResponse | None:
    """None as well where it was dropped for want of room, or written by another release."""
    try:
        return msgspec.convert(json.loads(outcome), KeptResponse)
    except ValueError:
        return None


@contextmanager
def _outages_mapped() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        STORE_ERRORS.add("answers")
        raise ResponsesUnavailable("What is kept of responses cannot be looked up at the moment.") from error
