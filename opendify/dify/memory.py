"""What Dify remembers of a conversation: reading it back, checking that it is there, deleting it."""

import logging
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode

from opendify.dify.client import DifyClient
from opendify.errors import GatewayError
from opendify.records import AppProfile
from opendify.settings import DifyApp
from opendify.translate.dify_errors import error_from_response
from opendify.translate.turn import HistoryMessage

_MOST_MESSAGES = 100

logger = logging.getLogger(__name__)


class DifyMemory:
    """Dify's own memory, asked for where the proxy's or the client's does not suffice."""

    def __init__(self, client: DifyClient) -> None:
        self._client = client

    def read_messages(self, app: DifyApp, conversation_id: str, user: str) -> list[HistoryMessage]:
        """The last messages of a conversation, oldest first.

        Raises:
            GatewayError: It is gone, another user's, or Dify cannot be asked.
        """
        query = urlencode({"conversation_id": conversation_id, "user": user, "limit": _MOST_MESSAGES})
        _, page = self._client.call(app, "GET", f"/messages?{query}")
        messages = page.get("data") if isinstance(page, Mapping) else None
        if not isinstance(messages, list):
            return []
        return [said for message in messages for said in _read_message(message)]

    def check(self, app: DifyApp, profile: AppProfile, conversation_id: str, user: str) -> None:
        """Make sure of a conversation, where Dify itself would fall silent for five minutes instead.

        Raises:
            ConversationNotFound: It is gone, or another user's.
            GatewayError: Dify cannot be asked.
        """
        if profile.refuses_in_silence:
            query = urlencode({"conversation_id": conversation_id, "user": user, "limit": 1})
            self._client.call(app, "GET", f"/messages?{query}")

    def delete_later(self, app: DifyApp, conversation_id: str, user: str) -> None:
        """Delete a conversation in the background; a failure is logged and nothing else."""

        def delete() -> None:
            try:
                path = f"/conversations/{quote(conversation_id, safe='')}"
                response = self._client.exchange(app, "DELETE", path, {"user": user})
                if response.status_code >= 400 and response.status_code != 404:
                    raise error_from_response(response.status_code, response.content)
            except GatewayError:
                logger.warning("a conversation could not be deleted", extra={"model": app.name})

        threading.Thread(target=delete, name="dify-delete", daemon=True).start()


def _read_message(message: object) -> Iterator[HistoryMessage]:
    """A stored message is a question and its answer; one that was cut has none."""
    if not isinstance(message, Mapping):
        return
    query, answer = message.get("query"), message.get("answer")
    if isinstance(query, str) and query:
        yield HistoryMessage("user", query)
    if isinstance(answer, str) and answer:
        yield HistoryMessage("assistant", answer)
