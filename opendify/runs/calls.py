"""Calls to Dify beside the runs: as long as their client waits, and within what an app may."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from opendify.dify.calls import CallAnswer, DifyCall, decode_json
from opendify.dify.client import DifyClient
from opendify.dify.concurrency import UNLIMITED, Concurrency, Place
from opendify.dify.discovery import Discovery
from opendify.dify.exchange import Head
from opendify.dify.retries import Retries
from opendify.errors import ClientLeft, ClientLeftEarly, DifyError, DifyUnreachable
from opendify.owners import Owners
from opendify.records import Client, Clock
from opendify.runs.drain import Drain
from opendify.settings import DifyApp

# A slot is to be free within half a second of its client's leaving.
_LONGEST_WAIT_SECONDS = 0.2
_MOST_JSON_BYTES = 16 << 20


class WatchedCall:
    """One call, given up when its client leaves; to be closed.

    As long as Dify cannot be reached, and nothing was sent, it is sent again.
    """

    def __init__(
        self,
        send: Callable[[], CallAnswer],
        *,
        retries: Retries,
        client: Client,
        drain: Drain,
        place: Place = UNLIMITED,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`place` and `retries` are let go of with the call, or where it cannot even begin."""
        self._send = send
        self._retries = retries
        self._client = client
        self._drain = drain
        self._place = place
        self._clock = clock
        self._sleep = sleep
        self._answer: CallAnswer | None = None
        self._came_with_head: list[bytes] | None = []
        drain.enter(self)
        try:
            self._answer = send()
        except BaseException:
            self.close()
            raise

    def head(self) -> Head:
        """Status and headers, once they came.

        Raises:
            GatewayError: Dify refused, cannot be reached, or took too long.
            ClientLeft: Nobody waits for the answer any more.
            Draining: The process must end.
        """
        while self._answer is None or self._answer.head is None:
            self._came_with_head = self._read()
        return self._answer.head

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; raises as `head` does."""
        self.head()
        read = self._came_with_head
        while read is not None:
            yield from read
            read = self._read()

    def whole(self, most_bytes: int) -> bytes:
        """All of the body; raises as `head` does, and `DifyError` where it is longer."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > most_bytes:
                raise DifyError("Dify's answer is longer than it can be")
        return bytes(body)

    def close(self) -> None:
        """Let go of it; one that is not whole is broken off at Dify."""
        self._retries.close()
        if self._answer is not None:
            self._answer.close()
        self._place.give_back()
        self._drain.leave(self)

    def _read(self) -> list[bytes] | None:
        self._look_for_client()
        if self._answer is None:
            return []
        try:
            return self._answer.read(_LONGEST_WAIT_SECONDS)
        except DifyUnreachable:
            pause = self._retries.next_pause()
            if pause is None:
                raise
        self._answer.close()
        self._wait(pause)
        self._answer = self._send()
        return []

    def _wait(self, seconds: float) -> None:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._look_for_client()
            self._sleep(min(left, _LONGEST_WAIT_SECONDS))

    def _look_for_client(self) -> None:
        if self._client.is_gone():
            raise ClientLeft("The client closed the connection before the answer was whole")
        self._drain.cut_short()


class Calls:
    """Makes calls for people."""

    def __init__(
        self,
        client: DifyClient,
        concurrency: Concurrency,
        drain: Drain,
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._concurrency = concurrency
        self._drain = drain
        self._clock = clock
        self._sleep = sleep

    def begin(self, app: DifyApp, call: DifyCall, client: Client, *, is_paid: bool = True) -> WatchedCall:
        """Send `call`; one that a model works for counts among the app's runs.

        Raises:
            RateLimited: The app answers as many requests as it may.
            DifyCircuitOpen: The server could not be reached lately.
            ClientLeft: Nobody waits for the answer any more.
            Draining: The process must end.
        """
        self._drain.refuse_new()
        place = self._concurrency.take(app, client) if is_paid else UNLIMITED
        if client.is_gone():
            place.give_back()
            raise ClientLeftEarly("The client closed the connection before the call began")
        return WatchedCall(
            partial(self._client.open_call, app, call),
            retries=self._client.retries(app),
            client=client,
            drain=self._drain,
            place=place,
            clock=self._clock,
            sleep=self._sleep,
        )

    def read_json(self, app: DifyApp, call: DifyCall, client: Client, *, is_paid: bool = True) -> object:
        """What a call answers.

        Raises:
            GatewayError: As `begin`, or Dify refused, or answered with something else than JSON.
        """
        with closing(self.begin(app, call, client, is_paid=is_paid)) as begun:
            body = begun.whole(_MOST_JSON_BYTES)
        return decode_json(body) if body else None


@dataclass(frozen=True, slots=True)
class CallTools:
    """What all need who call Dify for people beside the runs."""

    owners: Owners
    discovery: Discovery
    calls: Calls
