"""Whose a thing at Dify is: the app that knows it, and the user under whom it is known there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opendify.conversations.identity import ClientContext, dify_user
from opendify.conversations.matching import Scope
from opendify.errors import InvalidRequest
from opendify.records import Caller
from opendify.settings import DifyApp
from opendify.stores.base import ConversationStore, StoredConversation
from opendify.stores.forgiving import ForgivingStore

FindApp = Callable[[str, Caller], DifyApp]
"""The app behind a model's name, for a caller; raises `InvalidRequest` or `ModelNotFound`."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An app, and who asks it: `user` is Dify's, so that Dify itself refuses what is another's."""

    app: DifyApp
    user: str


class Owners:
    """Finds out under whom Dify is to be asked.

    What keeps people apart is the user: no two callers share one, and it is derived from
    the key and the person that a request names. Dify compares it for every conversation
    and message, so that knowing another's id opens nothing.
    """

    def __init__(self, store: ConversationStore, find_app: FindApp, user_prefix: str) -> None:
        self._store = ForgivingStore(store)
        self.find_app = find_app
        self._user_prefix = user_prefix

    def of_person(self, model: str, caller: Caller, context: ClientContext) -> Owner:
        """The person as the model's app knows it.

        Raises:
            InvalidRequest: No model is named.
            ModelNotFound: No such model.
        """
        return Owner(self.find_app(model, caller), dify_user(context, caller, self._user_prefix))

    def who_may_answer(self, owner: Owner, caller: Caller) -> Sequence[Owner]:
        """The person as their app knows them, then as those of its fallbacks do that the caller may use."""
        fallbacks = (self.find_app(name, caller) for name in owner.app.fallbacks if caller.may_use(name))
        return [Owner(app, owner.user) for app in dict.fromkeys([owner.app, *fallbacks])]

    def of_conversation(
        self, conversation_id: str, model: str, caller: Caller, context: ClientContext
    ) -> Owner:
        """The person as the app of its conversation knows it; `model` may be left out of one that is stored.

        Raises:
            InvalidRequest: Neither tells the app.
            ModelNotFound: No such model.
        """
        known = self._store.find_by_conversation_id(caller.id, conversation_id) if conversation_id else None
        if not (model or known):
            raise InvalidRequest(
                "Which app is meant cannot be told: name its model in the query (`?model=…`), or a "
                "conversation that this service began in the header 'X-Dify-Conversation-Id'.",
                param="model",
                code="missing_required_parameter",
            )
        owner = self.of_person(model or (known.model if known else ""), caller, context)
        if known and _is_of(known, owner, caller):
            # An imported conversation keeps the user under which Dify knows it.
            return Owner(owner.app, known.user)
        return owner


def _is_of(known: StoredConversation, owner: Owner, caller: Caller) -> bool:
    app = owner.app
    return known.scope == Scope(app.name, app.fingerprint, caller.id, owner.user, known.chat_id).key
