"""Chats of BetterOpenDify as stored conversations."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import structs

from opendify.conversations.fingerprint import fingerprint
from opendify.conversations.identity import ClientContext, dify_user
from opendify.conversations.matching import Scope
from opendify.conversations.tasks import is_task
from opendify.errors import ConversationNotFound, InvalidInput
from opendify.records import Caller
from opendify.settings import DifyApp
from opendify.stores.base import StoredConversation
from opendify.stores.importing import OldMapping
from opendify.translate.turn import HistoryMessage, Turn

# What BetterOpenDify told Dify when a request named nobody.
_NOBODY = "default_user"
# So many are read of Dify, and a transcript of as many may lack its beginning.
_MOST_QUESTIONS = 100

ReadMessages = Callable[[DifyApp, str, str], Sequence[HistoryMessage]]
"""App, conversation id and user → what Dify remembers, oldest first; raises `GatewayError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldChats:
    """To whom the chats of a BetterOpenDify belong.

    `key` is the name of the API key that its clients now use. `user_prefix` stood in
    front of each person's id in what Dify got as `user`; `dify_user_prefix` does so now.
    """

    app: DifyApp
    key: str
    user_prefix: str = ""
    dify_user_prefix: str = ""

    def person(self, mapping: OldMapping) -> str:
        """Who chats, as clients name them; empty where they name nobody."""
        return "" if mapping.user == _NOBODY else mapping.user.removeprefix(self.user_prefix)

    def scope(self, mapping: OldMapping) -> Scope:
        """Where the chat's next request, which comes with `key`, will look."""
        person = ClientContext(user=self.person(mapping))
        return Scope(
            model=self.app.name,
            app_fingerprint=self.app.fingerprint,
            caller=self.key,
            user=dify_user(person, Caller(self.key), self.dify_user_prefix),
            chat_id=mapping.chat_id,
        )


def stored_conversation(mapping: OldMapping, chats: OldChats, *, now: float) -> StoredConversation:
    """The chat as its next request finds it; no transcript is known to fit it.

    It keeps the user under which Dify knows it. `now` stands in where the file tells
    no time. The same chat always gets the same id.
    """
    person = chats.person(mapping)
    identity = "\0".join((chats.app.name, chats.key, mapping.chat_id, mapping.conversation_id))
    last_used = mapping.last_used or mapping.created_at or now
    return StoredConversation(
        id=hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=12).hexdigest(),
        scope=chats.scope(mapping).key,
        model=chats.app.name,
        caller=chats.key,
        user=chats.user_prefix + person if person else _NOBODY,
        chat_id=mapping.chat_id,
        app_fingerprint=chats.app.fingerprint,
        conversation_id=mapping.conversation_id,
        created_at=mapping.created_at or last_used,
        updated_at=last_used,
    )


def with_transcript(
    row: StoredConversation, scope: Scope, app: DifyApp, read_messages: ReadMessages
) -> StoredConversation | None:
    """`row` as it is found by the transcript that Dify holds; None where Dify does not hold it.

    What clients asked behind the chat (titles, tags) landed in Dify too, and is not in
    their transcript.

    Raises:
        GatewayError: Dify cannot be asked.
    """
    try:
        held = read_messages(app, row.conversation_id, row.user)
    except (ConversationNotFound, InvalidInput):
        return None
    said = fingerprint(list(_without_tasks(held)))
    questions = sum(message.role == "user" for message in held)
    is_whole = bool(said.recent) and questions < _MOST_QUESTIONS
    match_key = scope.match_key(said, b"") if is_whole else ""
    return structs.replace(row, recent=said.recent, turns=questions, match_key=match_key)


def _without_tasks(messages: Iterable[HistoryMessage]) -> Iterator[HistoryMessage]:
    is_behind_the_chat = False
    for message in messages:
        if message.role == "user":
            is_behind_the_chat = is_task(Turn(query=message.text), streamed=False)
        if not is_behind_the_chat:
            yield message
