"""Which files Dify was given already, so that it is given each only once: by app, user and content."""

import hashlib
import logging
import threading
from collections import OrderedDict
from typing import Final

from opendify.records import Clock
from opendify.settings import DifyApp
from opendify.stores.answers import AnswerStore, StoredAnswer
from opendify.stores.base import StoreUnavailable

_MOST_IN_PROCESS: Final = 4_096

logger = logging.getLogger(__name__)


class UploadMemory:
    """Dify's ids of files: of this process's own uploads at once, of others' from the store.

    An upload is a request to Dify whose answer is kept for its repeats; so it lies where
    other answers do, and goes with what is deleted of its user. A store that is down
    knows nothing, and the file is uploaded once more.
    """

    def __init__(self, store: AnswerStore | None, *, keep_seconds: float, now: Clock) -> None:
        """`now` is Unix time. Without a `store` each process remembers its own."""
        self._store = store
        self._keep_seconds = keep_seconds
        self._now = now
        self._lock = threading.Lock()
        self._own: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def find(self, key: str) -> str | None:
        """The `upload_file_id` under `key`."""
        with self._lock:
            upload_id, expires_at = self._own.get(key, ("", 0.0))
        if upload_id and self._now() < expires_at:
            return upload_id
        return self._find_of_others(key)

    def remember(self, key: str, user: str, upload_id: str) -> None:
        """Dify keeps a file of `user` under `upload_id`."""
        if self._keep_seconds <= 0:
            return
        now = self._now()
        expires_at = now + self._keep_seconds
        with self._lock:
            self._own[key] = (upload_id, expires_at)
            self._own.move_to_end(key)
            if len(self._own) > _MOST_IN_PROCESS:
                self._own.popitem(last=False)
        upload = StoredAnswer(
            id=key,
            key=key,
            fingerprint=key,
            user=user,
            begun_at=now,
            claimed_until=expires_at,
            expires_at=expires_at,
        )
        if self._store is None:
            return
        try:
            self._store.begin(upload, now=now, anew=False)
            self._store.finish(key, upload_id.encode(), now=now, expires_at=expires_at)
        except StoreUnavailable:
            logger.warning("an upload could not be remembered", exc_info=True)

    def forget(self, key: str) -> None:
        """Dify does not know the file any more."""
        with self._lock:
            self._own.pop(key, None)
        if self._store is None:
            return
        try:
            self._store.forget(key)
        except StoreUnavailable:
            logger.warning("an upload could not be forgotten", exc_info=True)

    def _find_of_others(self, key: str) -> str | None:
        if self._store is None or self._keep_seconds <= 0:
            return None
        try:
            found = self._store.find(key, now=self._now())
        except StoreUnavailable:
            logger.warning("an upload could not be looked up", exc_info=True)
            return None
        return found.outcome.decode() if found and found.outcome else None


def upload_key(app: DifyApp, user: str, sha256: str, filename: str, mime_type: str) -> str:
    """What an upload is remembered by. Its name counts: apps show it, and tell its type by it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (app.fingerprint, user, sha256, filename, mime_type):
        digest.update(f"{len(part)}:{part}".encode("utf-8", "replace"))
    return f"upload-{digest.hexdigest()}"
