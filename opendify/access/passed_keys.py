"""Keys of Dify's own apps that callers present, and what Dify says of them: pass-through mode."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from opendify.access.key_format import key_digest
from opendify.bounded import remember
from opendify.errors import DifyAppError, DifyAuthError
from opendify.records import NO_LIMITS, Caller, CallerLimits, Clock
from opendify.settings import DifyApp

GOOD_SECONDS: Final = 30.0
"""So long Dify is not asked again, unless it refuses a request with the key."""
WRONG_SECONDS: Final = 60.0
_MOST_REMEMBERED: Final = 1_000
_APP_KEY: Final = re.compile(r"app-[A-Za-z0-9_-]{3,120}")


class PassedKeys:
    """Asks Dify at most now and then for each key, and remembers only so many; safe for threads.

    What is remembered is found by a digest. The holder of a key is known by a digest of
    it too, so that conversations go on after a restart.
    """

    def __init__(
        self,
        app: DifyApp,
        ask: Callable[[DifyApp], object],
        *,
        limits: CallerLimits = NO_LIMITS,
        clock: Clock,
    ) -> None:
        """`app` is every such app but for its key; `ask` raises `DifyAuthError` where Dify refuses it.

        `limits` are those of each key.
        """
        self._app = app
        self._ask = ask
        self._limits = limits
        self._clock = clock
        self._good: dict[bytes, tuple[Caller, float]] = {}
        self._wrong: dict[bytes, float] = {}

    def __len__(self) -> int:
        """How many keys are remembered, good and wrong ones."""
        return len(self._good) + len(self._wrong)

    def may_know(self, key: str) -> bool:
        """Whether it could be a Dify app's key; no other leaves this service."""
        return _APP_KEY.fullmatch(key) is not None

    def find(self, key: str, may_ask: Callable[[], bool]) -> Caller | None:
        """The key's holder; None where Dify refuses it, or where it would have to be asked and may not be.

        Raises:
            GatewayError: Dify is away.
        """
        digest, now = key_digest(key), self._clock()
        caller, good_until = self._good.get(digest, (None, 0.0))
        if caller and now < good_until:
            return caller
        if now < self._wrong.get(digest, now) or not may_ask():
            return None
        return self._look_up(key, digest)

    def forget(self, key: str) -> bool:
        """Dify refused it in a run: it is wrong from now on. Whether it was good until then."""
        digest = key_digest(key)
        was_good = self._good.pop(digest, None) is not None
        if was_good:
            self._note_wrong(digest)
        return was_good

    def _note_wrong(self, digest: bytes) -> None:
        remember(self._wrong, digest, self._clock() + WRONG_SECONDS, most=_MOST_REMEMBERED)

    def _look_up(self, key: str, digest: bytes) -> Caller | None:
        app = replace(self._app, api_key=key)
        try:
            self._ask(app)
        except DifyAuthError:
            self._good.pop(digest, None)
            self._note_wrong(digest)
            return None
        except DifyAppError:
            pass  # The key is right, and running the app will say better what is wrong with it.
        caller = Caller(f"#dify-{digest.hex()[:24]}", limits=self._limits, app=app)
        remember(self._good, digest, (caller, self._clock() + GOOD_SECONDS), most=_MOST_REMEMBERED)
        return caller
