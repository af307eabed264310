"""Who speaks, in which chat, and whether a person speaks at all: what headers and body tell.

A header of another client is one row in one of these tables.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from opendify.records import Caller, Headers

MAX_USER_BYTES = 255
MAX_ID_CHARS = 512

# Best first: a client that says who speaks in a header means the person, not its own account.
USER_HEADERS = ("X-OpenWebUI-User-Id", "x-litellm-end-user-id", "x-litellm-customer-id")
CHAT_HEADERS = ("X-OpenWebUI-Chat-Id", "X-Conversation-Id", "X-Session-Id", "X-Chat-Id")
CHAT_BODY_FIELDS = ("conversation_id", "chat_id", "session_id")
CONVERSATION_HEADER = "X-Dify-Conversation-Id"
TASK_HEADER = "X-OpenWebUI-Task"

# Clients that send the whole transcript every time, told by a header of theirs.
_WHOLE_TRANSCRIPT_HEADERS = ("X-OpenWebUI-Chat-Id", "X-OpenWebUI-User-Id", "X-OpenWebUI-User-Jwt")
# Open WebUI's chats that nobody wants kept.
_TEMPORARY_CHATS = ("temporary:", "local:")
# Codex sends its session's id here; other clients a mere hint for a cache.
_PROMPT_CACHE_KEY_IS_CHAT = ("codex",)


class Place(msgspec.Struct, frozen=True):
    """Where an answer left its conversation: Dify's ids, empty where it told none."""

    conversation_id: str
    message_id: str


class ClientContext(msgspec.Struct, frozen=True):
    """What a request tells of its sender; empty where it tells nothing.

    `conversation_id` is one of Dify's, named in a header and meant exactly;
    `maybe_conversation_id` may be one of Dify's or the client's own chat id. `follows` is where
    the answer that the request goes on from left its conversation, if that is known.
    """

    user: str = ""
    chat_id: str = ""
    conversation_id: str = ""
    maybe_conversation_id: str = ""
    is_temporary: bool = False
    is_task: bool = False
    sends_whole_transcripts: bool = False
    follows: Place | None = None


class BodyIdentity(msgspec.Struct, frozen=True):
    """What bodies of all endpoints tell of their sender; values of any type.

    `fields` holds the body's own `conversation_id` and the like, over those in
    its `metadata`.
    """

    user: object = None
    safety_identifier: object = None
    prompt_cache_key: object = None
    fields: Mapping[str, object] = {}


_NOBODY_NAMED = ClientContext()
NOTHING_NAMED = BodyIdentity()


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Names that an operator renamed, and how a signed user is read.

    `read_token` gives the user of a signed token, and raises where it is not good.
    """

    user_headers: tuple[str, ...] = USER_HEADERS
    chat_headers: tuple[str, ...] = CHAT_HEADERS
    token_header: str = "X-OpenWebUI-User-Jwt"  # noqa: S105 - A header's name.
    read_token: Callable[[str], str] | None = None

    def header_names(self) -> tuple[str, ...]:
        """All that are looked at, but for `User-Agent`: most requests have that one, and none of these."""
        others = (CONVERSATION_HEADER, TASK_HEADER, *_WHOLE_TRANSCRIPT_HEADERS, self.token_header)
        return (*self.user_headers, *self.chat_headers, *others)


def read_client_context(
    headers: Headers, body: BodyIdentity, rules: IdentityRules | None = None
) -> ClientContext:
    """Everything that the tables know how to find.

    Raises:
        Unauthorized: A secret for signed users is set, and the token is not good.
    """
    if not headers and body == NOTHING_NAMED:  # type: ignore[truthy-bool] # See `_first_header`.
        return _NOBODY_NAMED
    rules = rules or IdentityRules()
    named = _first_header(headers, rules.chat_headers)
    chat_id = named or _first_field(body.fields) or _cache_key(headers, body)
    return ClientContext(
        user=_user(headers, body, rules),
        chat_id=chat_id,
        conversation_id=_first_header(headers, (CONVERSATION_HEADER,)),
        maybe_conversation_id=_text(body.fields.get("conversation_id")),
        is_temporary=chat_id.startswith(_TEMPORARY_CHATS),
        is_task=bool(_first_header(headers, (TASK_HEADER,))),
        sends_whole_transcripts=bool(_first_header(headers, _WHOLE_TRANSCRIPT_HEADERS)),
    )


def dify_user(context: ClientContext, caller: Caller, prefix: str) -> str:
    """Dify's `user`: stable, at most 255 bytes, never shared by two callers.

    A name too long for Dify keeps its start and ends in a digest of the whole.
    """
    name = f"{prefix}{caller.id}:{context.user}" if context.user else f"{prefix}{caller.id}"
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= MAX_USER_BYTES:
        return encoded.decode()
    digest = hashlib.sha256(encoded).hexdigest()[:32]
    return f"{encoded[: MAX_USER_BYTES - 33].decode('utf-8', 'ignore')}~{digest}"


def _user(headers: Headers, body: BodyIdentity, rules: IdentityRules) -> str:
    if rules.read_token:
        token = _first_header(headers, (rules.token_header,))
        # Plain headers prove nothing where signed ones are to be had.
        from_headers = rules.read_token(token) if token else ""
    else:
        from_headers = _first_header(headers, rules.user_headers)
    return from_headers or _text(body.user) or _text(body.safety_identifier)


def _cache_key(headers: Headers, body: BodyIdentity) -> str:
    key = _text(body.prompt_cache_key)
    agent = (headers.get("User-Agent") or "").lower() if key else ""
    return key if agent.startswith(_PROMPT_CACHE_KEY_IS_CHAT) else ""


def _first_header(headers: Headers, names: Iterable[str]) -> str:
    """The value of the first that names anything; a request has few of the many, and mostly none."""
    if not headers:  # type: ignore[truthy-bool] # Who picks a few gives a dict.
        return ""
    for name in names:
        value = headers.get(name)
        if value and (text := _text(value)):
            return text
    return ""


def _first_field(fields: Mapping[str, object]) -> str:
    for name in CHAT_BODY_FIELDS if fields else ():
        if text := _text(fields.get(name)):
            return text
    return ""


def _text(value: object) -> str:
    """An id as text; what is no text or number, or absurdly long, names nothing."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value).strip()
    if len(text) <= MAX_ID_CHARS:
        return text
    # What stands in front may mean something, as in `temporary:`.
    return f"{text[:64]}~{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"
