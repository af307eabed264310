"""Stored conversations as operators see and delete them; the same for routes and commands."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from opendify.conversations.identity import ClientContext, dify_user
from opendify.dify.client import DifyClient
from opendify.errors import ConversationNotFound, DifyAppError, DifyUnreachable, GatewayError
from opendify.records import Caller, Clock
from opendify.settings import DifyApp, Settings, SettingsError
from opendify.stores.answers import AnswerStore
from opendify.stores.base import ConversationStore, StoredConversation, StoreStatistics
from opendify.stores.opening import open_answer_store, open_store
from opendify.translate.dify_errors import error_from_response

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class DeletionFailure:
    """A conversation that Dify still has, and so the store too, and why."""

    conversation: StoredConversation
    error: GatewayError


@dataclass(frozen=True, slots=True)
class UserDeletion:
    """What became of a user's conversations; `deleted_at_dify` is None where Dify was not asked."""

    user: str
    deleted: int
    deleted_at_dify: int | None
    failures: tuple[DeletionFailure, ...] = ()


class ConversationAdmin:
    """Every method may raise `StoreUnavailable`."""

    def __init__(
        self,
        settings: Settings,
        store: ConversationStore,
        client: DifyClient,
        *,
        answers: AnswerStore | None = None,
        now: Clock = time.time,
    ) -> None:
        """`now` is Unix time; a person's `answers` go with their conversations."""
        self._settings = settings
        self._store = store
        self._answers = answers
        self._client = client
        self.now = now

    @property
    def default_max_age_days(self) -> float:
        """After so many days a conversation is forgotten anyway."""
        return self._settings.conversation_ttl_days

    def statistics(self) -> StoreStatistics:
        """Counts and ages."""
        return self._store.statistics()

    def recent(self, limit: int) -> list[StoredConversation]:
        """The newest conversations of all callers."""
        return self._store.recent(limit)

    def of_user(self, user: str, key: str | None = None) -> list[StoredConversation]:
        """A user's conversations; see `delete_user`."""
        if key is None:
            return self._store.of_user(user, None)
        found = self._store.of_user(self._dify_user(user, key), key)
        if not user.startswith(self._dify_user("", key)):
            # A user that is not named after the key is an imported one, who kept the name.
            found += self._store.of_user(user, key)
        return found

    def get(self, stored_id: str) -> StoredConversation:
        """One conversation.

        Raises:
            ConversationNotFound: There is none with this id.
        """
        found = self._store.find(stored_id)
        if found is None:
            raise ConversationNotFound(f"No conversation with the id {stored_id[:100]!r} is stored.")
        return found

    def delete(self, stored_id: str, *, at_dify: bool) -> None:
        """Forget one conversation; with `at_dify` only once Dify has deleted it.

        Raises:
            ConversationNotFound: There is none with this id.
            GatewayError: Dify did not delete it; it stays stored.
        """
        conversation = self.get(stored_id)
        if at_dify:
            self._delete_at_dify(conversation)
        self._store.delete(stored_id)

    def delete_user(self, user: str, key: str | None, *, at_dify: bool) -> UserDeletion:
        """Forget all conversations of one user, and the answers that are kept for repeats.

        `user` is Dify's; with the name of a `key` it is the person as the holder of
        that key names them, imported chats included. What Dify does not delete stays
        stored, so that it can be tried again.
        """
        name = self._dify_user(user, key)
        if self._answers:
            self._answers.delete_of_user(name)
        deleted, failures, unreachable = 0, list[DeletionFailure](), dict[str, GatewayError]()
        for conversation in self.of_user(user, key):
            try:
                if at_dify:
                    # Each would wait for the same connection in vain.
                    if known := unreachable.get(conversation.app_fingerprint):
                        raise known
                    self._delete_at_dify(conversation)
            except GatewayError as error:
                if isinstance(error, DifyUnreachable):
                    unreachable[conversation.app_fingerprint] = error
                failures.append(DeletionFailure(conversation, error))
            else:
                deleted += self._store.delete(conversation.id)
        return UserDeletion(name, deleted, deleted if at_dify else None, tuple(failures))

    def clean_up(self, max_age_days: float) -> int:
        """Forget what was not used for so long; how many."""
        return self._store.delete_older_than(self.now() - max_age_days * SECONDS_PER_DAY)

    def about(self) -> Mapping[str, object]:
        """What kind of store this is."""
        return self._store.about()

    def optimize(self) -> None:
        """Give back space."""
        self._store.optimize()

    def _dify_user(self, user: str, key: str | None) -> str:
        if key is None:
            return user
        return dify_user(ClientContext(user=user), Caller(key), self._settings.dify_user_prefix)

    def _delete_at_dify(self, conversation: StoredConversation) -> None:
        """Ask with the app key and the user that it was begun with; a conversation that is gone is fine."""
        path = f"/conversations/{quote(conversation.conversation_id, safe='')}"
        response = self._client.exchange(
            self._app_of(conversation), "DELETE", path, {"user": conversation.user}
        )
        if response.status_code >= 400 and response.status_code != 404:
            raise error_from_response(response.status_code, response.content)

    def _app_of(self, conversation: StoredConversation) -> DifyApp:
        fingerprint = conversation.app_fingerprint
        for app in self._settings.models:
            if app.fingerprint == fingerprint:
                return app
        raise DifyAppError(
            f"The app key with which this conversation of {conversation.model!r} was begun "
            "is not configured any more."
        )


def open_configured_store(settings: Settings) -> ConversationStore:
    """The store that the settings name; nothing is contacted before its first use.

    Raises:
        SettingsError: They name none.
    """
    try:
        ttl_seconds = settings.conversation_ttl_days * SECONDS_PER_DAY
        return open_store(settings.conversation_store_url, settings.data_dir, ttl_seconds=ttl_seconds)
    except ValueError as error:
        raise SettingsError(f"CONVERSATION_STORE_URL: {error}") from None


def open_configured_answers(settings: Settings) -> AnswerStore | None:
    """The store of answers that the settings name; None where nothing is to be kept.

    Raises:
        SettingsError: They name none.
    """
    url = settings.answer_store
    if url == "off":
        return None
    if url == "auto":
        beside = settings.conversation_store_url
        url = "sqlite:///data/answers.db" if beside.lower().startswith("sqlite:") else beside
    try:
        return open_answer_store(url, settings.data_dir)
    except ValueError as error:
        raise SettingsError(f"ANSWER_STORE: {error}") from None


def statistics_shape(statistics: StoreStatistics, now: float) -> Mapping[str, object]:
    """Counts and ages as JSON; times are whole Unix seconds."""
    oldest, newest = statistics.oldest_at, statistics.newest_at
    return {
        "mapping_count": statistics.conversations,
        "oldest_mapping": None if oldest is None else int(oldest),
        "newest_mapping": None if newest is None else int(newest),
        "oldest_age_seconds": None if oldest is None else max(0, int(now - oldest)),
        "newest_age_seconds": None if newest is None else max(0, int(now - newest)),
        "users": statistics.users,
        "turns": statistics.turns,
        "by_model": dict(statistics.by_model),
        "timestamp": int(now),
    }


def conversation_shape(conversation: StoredConversation, now: float) -> Mapping[str, object]:
    """One conversation as JSON: ids, counts and times; there is no text to show."""
    return {
        "id": conversation.id,
        "webui_chat_id": conversation.chat_id,
        "dify_conversation_id": conversation.conversation_id,
        "dify_message_id": conversation.message_id,
        "model": conversation.model,
        "caller": conversation.caller,
        "user": conversation.user,
        "app_fingerprint": conversation.app_fingerprint,
        "turns": conversation.turns,
        "created_at": int(conversation.created_at),
        "last_used": int(conversation.updated_at),
        "age_hours": max(0, int(now - conversation.updated_at)) // 3600,
    }


def user_deletion_shape(deletion: UserDeletion) -> Mapping[str, object]:
    """What became of a user's conversations, as JSON."""
    return {
        "user": deletion.user,
        "complete": not deletion.failures,
        "deleted": deletion.deleted,
        "deleted_at_dify": deletion.deleted_at_dify,
        "failures": [
            {
                "id": failure.conversation.id,
                "model": failure.conversation.model,
                "dify_conversation_id": failure.conversation.conversation_id,
                "code": failure.error.code,
                "message": failure.error.message,
            }
            for failure in deletion.failures
        ],
    }
