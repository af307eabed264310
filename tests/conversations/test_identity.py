"""Who speaks in which chat: one row a header, a field, a rule of precedence."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from opendify.conversations.identity import (
    CHAT_HEADERS,
    MAX_ID_CHARS,
    MAX_USER_BYTES,
    USER_HEADERS,
    BodyIdentity,
    ClientContext,
    IdentityRules,
    dify_user,
    read_client_context,
)
from opendify.errors import Unauthorized
from opendify.records import Caller
from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(
    headers: Mapping[str, str] | None = None,
    body: BodyIdentity | None = None,
    rules: IdentityRules | None = None,
) -> ClientContext:
    """Header names in any case, as a server's are."""
    return read_client_context(Headers(headers or {}), body or BodyIdentity(), rules)


ANN = ClientContext(user="ann")


@pytest.mark.parametrize(
    ("header", "context"),
    [
        ("X-OpenWebUI-User-Id", ClientContext(user="ann", sends_whole_transcripts=True)),
        ("x-openwebui-user-id", ClientContext(user="ann", sends_whole_transcripts=True)),
        ("x-litellm-end-user-id", ANN),
        ("X-LiteLLM-End-User-Id", ANN),
        ("x-litellm-customer-id", ANN),
        ("X-OpenWebUI-Chat-Id", ClientContext(chat_id="ann", sends_whole_transcripts=True)),
        ("X-Conversation-Id", ClientContext(chat_id="ann")),
        ("X-Session-Id", ClientContext(chat_id="ann")),
        ("X-Chat-Id", ClientContext(chat_id="ann")),
        ("X-Dify-Conversation-Id", ClientContext(conversation_id="ann")),
        ("X-OpenWebUI-Task", ClientContext(is_task=True)),
        ("X-OpenWebUI-User-Name", ClientContext()),
        ("X-OpenWebUI-User-Email", ClientContext()),
        ("X-OpenWebUI-User-Role", ClientContext()),
        ("X-OpenWebUI-Message-Id", ClientContext()),
        ("X-Invented-User", ClientContext()),
    ],
)
def test_a_header_tells(header: str, context: ClientContext) -> None:
    assert read({header: " ann "}) == context


@pytest.mark.parametrize(
    ("body", "context"),
    [
        pytest.param(BodyIdentity(user="ann"), ANN, id="user"),
        pytest.param(BodyIdentity(safety_identifier="ann"), ANN, id="safety_identifier"),
        pytest.param(
            BodyIdentity(fields={"conversation_id": "c"}),
            ClientContext(chat_id="c", maybe_conversation_id="c"),
            id="conversation_id",
        ),
        pytest.param(BodyIdentity(fields={"chat_id": "c"}), ClientContext(chat_id="c"), id="chat_id"),
        pytest.param(BodyIdentity(fields={"session_id": "c"}), ClientContext(chat_id="c"), id="session_id"),
        pytest.param(BodyIdentity(prompt_cache_key="c"), ClientContext(), id="a hint for a cache"),
        pytest.param(BodyIdentity(fields={"thread": "c"}), ClientContext(), id="an unknown field"),
        pytest.param(BodyIdentity(), ClientContext(), id="nothing"),
    ],
)
def test_a_body_tells(body: BodyIdentity, context: ClientContext) -> None:
    assert read(body=body) == context


@pytest.mark.parametrize(
    ("agent", "chat_id"),
    [
        ("codex_cli_rs/0.98.0 (Ubuntu 24.4.0; x86_64) xterm", "c"),
        ("codex_exec/0.98.0", "c"),
        ("Codex Desktop/1.0", "c"),
        ("OpenAI/Python 3.1.0", ""),
        ("notcodex/1.0", ""),
    ],
)
def test_a_prompt_cache_key_names_a_chat_of_codex_only(agent: str, chat_id: str) -> None:
    assert read({"User-Agent": agent}, BodyIdentity(prompt_cache_key="c")).chat_id == chat_id


@pytest.mark.parametrize(
    ("headers", "body", "user"),
    [
        pytest.param(
            {"X-OpenWebUI-User-Id": "ann", "x-litellm-end-user-id": "bob"},
            BodyIdentity("carl", "dora"),
            "ann",
            id="Open WebUI's person",
        ),
        pytest.param(
            {"x-litellm-customer-id": "carl", "x-litellm-end-user-id": "bob"},
            BodyIdentity("dora"),
            "bob",
            id="LiteLLM's person",
        ),
        pytest.param({"X-OpenWebUI-User-Id": " "}, BodyIdentity("carl", "dora"), "carl", id="user"),
        pytest.param({}, BodyIdentity("", "dora"), "dora", id="safety_identifier"),
        pytest.param({}, BodyIdentity(" \t", None), "", id="nobody"),
    ],
)
def test_who_speaks_is_told_best_first(headers: dict[str, str], body: BodyIdentity, user: str) -> None:
    assert read(headers, body).user == user


EVERYTHING = {"conversation_id": "c", "chat_id": "d", "session_id": "e"}


@pytest.mark.parametrize(
    ("headers", "fields", "chat_id"),
    [
        ({"X-OpenWebUI-Chat-Id": "a", "X-Conversation-Id": "b"}, EVERYTHING, "a"),
        ({"X-Chat-Id": "b", "X-Session-Id": "a"}, EVERYTHING, "a"),
        ({"X-Chat-Id": " "}, EVERYTHING, "c"),
        ({}, {"chat_id": "d", "session_id": "e"}, "d"),
        ({"User-Agent": "codex"}, {"session_id": "e"}, "e"),
        ({"User-Agent": "codex"}, {}, "k"),
    ],
)
def test_which_chat_it_is_is_told_best_first(
    headers: dict[str, str], fields: dict[str, object], chat_id: str
) -> None:
    assert read(headers, BodyIdentity(prompt_cache_key="k", fields=fields)).chat_id == chat_id


def test_a_body_may_name_a_conversation_of_dify_s_beside_a_chat_header() -> None:
    """An id that Dify may know comes before the client's own name for the chat."""
    context = read({"X-Chat-Id": "a"}, BodyIdentity(fields={"conversation_id": "c"}))

    assert (context.chat_id, context.maybe_conversation_id) == ("a", "c")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ann", "ann"),
        (" ann\n", "ann"),
        (7, "7"),
        (0, "0"),
        (True, ""),
        (1.5, ""),
        (["ann"], ""),
        ({"id": "ann"}, ""),
        ("", ""),
        (" ", ""),
        (None, ""),
        ("安" * 512, "安" * 512),
    ],
)
def test_ids_are_texts_or_whole_numbers(value: object, text: str) -> None:
    body = BodyIdentity(
        user=value, safety_identifier=value, fields=dict.fromkeys(("chat_id", "session_id"), value)
    )

    assert read(body=body) == ClientContext(user=text, chat_id=text)


def test_absurdly_long_ids_stay_apart_and_get_short() -> None:
    contexts = [read({"X-Chat-Id": "x" * 10_000 + end}) for end in "ab"]

    assert contexts[0].chat_id != contexts[1].chat_id
    assert all(len(context.chat_id) <= MAX_ID_CHARS for context in contexts)


@pytest.mark.parametrize(
    ("chat_id", "is_temporary"),
    [
        ("temporary:abc", True),
        ("local:abc", True),
        pytest.param("temporary:" + "x" * 600, True, id="an absurdly long one"),
        ("channel:abc", False),
        ("4e6b2c1e-temporary:", False),
        ("temporary", False),
    ],
)
def test_some_chats_of_open_webui_are_not_to_be_kept(chat_id: str, is_temporary: bool) -> None:
    assert read({"X-OpenWebUI-Chat-Id": chat_id}).is_temporary is is_temporary


@pytest.mark.parametrize("value", ["", " "], ids=["empty", "blank"])
def test_an_empty_header_tells_nothing(value: str) -> None:
    names = (*USER_HEADERS, *CHAT_HEADERS, "X-Dify-Conversation-Id", "X-OpenWebUI-Task")

    assert read(dict.fromkeys(names, value)) == ClientContext()


def test_renamed_headers_are_found_before_the_usual_ones() -> None:
    rules = IdentityRules(("X-Person", *USER_HEADERS), ("X-Room", *CHAT_HEADERS))
    headers = {"X-Person": "ann", "X-Room": "r", "X-OpenWebUI-User-Id": "bob", "X-Chat-Id": "s"}

    context = read(headers, rules=rules)

    assert (context.user, context.chat_id) == ("ann", "r")


# Signed users


def refuse(token: str) -> str:
    raise Unauthorized(f"{len(token)} characters of nonsense")


SIGNED = IdentityRules(read_token=lambda token: token.removeprefix("signed-"))
TOKEN = "X-OpenWebUI-User-Jwt"


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        pytest.param({TOKEN: "signed-ann", "X-OpenWebUI-User-Id": "bob"}, "ann", id="a good token"),
        pytest.param({"X-OpenWebUI-User-Id": "bob"}, "carl", id="plain headers prove nothing"),
        pytest.param({"x-litellm-end-user-id": "bob"}, "carl", id="nor do LiteLLM's"),
        pytest.param({TOKEN: " "}, "carl", id="a blank token is none"),
    ],
)
def test_where_users_are_signed_plain_headers_are_ignored(headers: dict[str, str], user: str) -> None:
    assert read(headers, BodyIdentity(user="carl"), SIGNED).user == user


def test_a_bad_token_is_refused_although_a_body_names_somebody() -> None:
    with pytest.raises(Unauthorized):
        read({TOKEN: "nonsense"}, BodyIdentity(user="carl"), IdentityRules(read_token=refuse))


def test_where_users_are_not_signed_a_token_tells_nothing_of_the_user() -> None:
    assert read({TOKEN: "whatever", "X-OpenWebUI-User-Id": "bob"}).user == "bob"


def test_the_header_of_a_signed_user_can_be_renamed() -> None:
    rules = replace(SIGNED, token_header="X-Signed")

    assert read({"X-Signed": "signed-ann"}, rules=rules).user == "ann"


def test_a_signed_chat_is_one_of_open_webui_s() -> None:
    assert read({TOKEN: "signed-ann"}, rules=SIGNED).sends_whole_transcripts


# Dify's user


@pytest.mark.parametrize(
    ("prefix", "caller", "user", "name"),
    [
        ("", "team", "ann", "team:ann"),
        ("opendify-", "team", "ann", "opendify-team:ann"),
        ("opendify-", "team", "", "opendify-team"),
        ("", "team", "a:b", "team:a:b"),
        ("", "team", "安", "team:安"),
    ],
    ids=["caller and person", "prefix", "nobody", "a colon", "Chinese"],
)
def test_difys_user_names_caller_and_person(prefix: str, caller: str, user: str, name: str) -> None:
    assert dify_user(ClientContext(user=user), Caller(caller), prefix) == name


def test_a_name_that_just_fits_is_kept() -> None:
    name = dify_user(ClientContext(user="u" * 250), Caller("team"), "")

    assert name == f"team:{'u' * 250}"
    assert len(name.encode()) == MAX_USER_BYTES == 255


@pytest.mark.parametrize(
    "user", ["u" * 251, "ü" * 300, "安" * 200, "🙂" * 100], ids=["ASCII", "2", "3", "4 bytes"]
)
def test_a_name_too_long_keeps_its_start_and_fits(user: str) -> None:
    name = dify_user(ClientContext(user=user), Caller("team"), "p-")

    assert len(name.encode()) <= MAX_USER_BYTES
    assert name.startswith(f"p-team:{user[:40]}")
    assert "\ufffd" not in name


def test_long_names_that_differ_at_the_end_stay_apart() -> None:
    names = {dify_user(ClientContext(user="u" * 400 + end), Caller("team"), "") for end in "abc"}

    assert len(names) == 3


_caller_ids = st.text("abc.-_@", min_size=1, max_size=64)
_users = st.text(st.characters(), max_size=40).map(str.strip) | st.text("ü:ab", min_size=200, max_size=300)


@unhurried
@given(_caller_ids, _caller_ids, _users, _users, st.sampled_from(["", "p-"]))
@example("a", "a.b", "b", "", "")
@example("a", "b", "", "", "")
def test_two_callers_never_share_a_user(
    one: str, other: str, user: str, others_user: str, prefix: str
) -> None:
    first = dify_user(ClientContext(user=user), Caller(one), prefix)
    second = dify_user(ClientContext(user=others_user), Caller(other), prefix)

    assert one == other or first != second


@unhurried
@given(_caller_ids, _users, st.sampled_from(["", "p-", "安" * 20]))
def test_any_user_is_stable_and_fits(caller: str, user: str, prefix: str) -> None:
    name = dify_user(ClientContext(user=user), Caller(caller), prefix)

    assert name == dify_user(ClientContext(user=user), Caller(caller), prefix)
    assert 0 < len(name.encode()) <= MAX_USER_BYTES


# Over HTTP


@pytest.mark.parametrize(
    ("body", "user"),
    [
        ({"user": "ann"}, "ann"),
        ({"user": {"id": "ann", "name": "Ann", "email": "ann@mail.test", "role": "user"}}, "ann"),
        ({"user": {"name": "Ann"}, "safety_identifier": "sid"}, "sid"),
        ({"safety_identifier": "sid"}, "sid"),
    ],
)
def test_dify_s_user_is_the_body_s(serve: Serve, dify: MockDify, body: dict[str, object], user: str) -> None:
    """Open WebUI sends an object to models that have a `pipeline`."""
    client = serve({"bot": {"api_key": "app-bot", "mode": "chat"}})
    shape = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}], **body}

    assert client.post("/v1/chat/completions", json=shape).status_code == 200

    (sent,) = dify.bodies("run")
    assert str(sent["user"]).endswith(f":{user}")


def test_metadata_names_a_chat_where_the_body_does_not(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": {"api_key": "app-bot", "mode": "chat"}}, DIFY_MESSAGE_TIME_RESOLUTION="0")
    shape = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
    named: list[dict[str, object]] = [
        {"metadata": {"conversation_id": "mine"}},
        {"metadata": {"conversation_id": "another"}, "conversation_id": "mine"},
        {"metadata": {"conversation_id": "another"}},
    ]

    for body in named:
        assert client.post("/v1/chat/completions", json=shape | body).status_code == 200

    asked = [body.get("conversation_id") for body in dify.bodies("run")]
    assert asked == [None, "conversation-1", None]
