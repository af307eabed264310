"""Links under which a kept file can be read without a key, for a while."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Final

from itsdangerous import BadSignature, URLSafeSerializer

from opendify.files.base import StoredFile
from opendify.records import Clock

_SALT: Final = "opendify.files.link"


class FileLinkSigner:
    """Makes and reads such links below `public_url`; `now` is Unix time.

    `secret` is asked for at first use; all machines behind the address need the same.
    """

    def __init__(
        self, public_url: str, secret: Callable[[], str], *, ttl_seconds: float, now: Clock = time.time
    ) -> None:
        self._public_url = public_url
        self._secret = secret
        self._ttl_seconds = ttl_seconds
        self._now = now

    def url_of(self, file: StoredFile) -> str:
        """Where the file can be read until the link expires."""
        expires_at = int(self._now() + self._ttl_seconds)
        token = self._serializer.dumps([file.id, file.owner, expires_at])
        return f"{self._public_url}/v1/files/{file.id}/content?token={token}"

    def owner_for(self, file_id: str, token: str) -> str | None:
        """Whose file the link opens; None where it is not ours, another file's, or has expired."""
        try:
            signed_id, owner, expires_at = self._serializer.loads(token)
        except (BadSignature, ValueError, TypeError):
            return None
        is_good = signed_id == file_id and expires_at > self._now()
        return str(owner) if is_good else None

    @cached_property
    def _serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self._secret(), salt=_SALT)
