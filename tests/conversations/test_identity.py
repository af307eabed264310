import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opendify.conversations.identity import MAX_USER_BYTES, ClientContext, dify_user, read_client_context
from opendify.records import Caller

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


OPEN_WEBUI = "X-OpenWebUI-User-Id"


@pytest.mark.parametrize(
    ("headers", "body_users", "user"),
    [
        pytest.param({OPEN_WEBUI: "ann"}, ["bob", "eve"], "ann", id="a known header first"),
        pytest.param({}, ["bob", "eve"], "bob", id="then the body's fields in order"),
        pytest.param({}, [None, "eve"], "eve", id="an absent field"),
        pytest.param({OPEN_WEBUI: "  "}, ["", " ", "eve"], "eve", id="blank ones"),
        pytest.param({OPEN_WEBUI: " ann "}, [], "ann", id="white space around it"),
        pytest.param({"X-Invented-User": "ann"}, [], "", id="an unknown header"),
        pytest.param({}, [], "", id="nobody"),
    ],
)
def test_the_person_is_named_by_headers_and_body(
    headers: dict[str, str], body_users: list[str | None], user: str
) -> None:
    assert read_client_context(headers, *body_users) == ClientContext(user)


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
    assert dify_user(ClientContext(user), Caller(caller), prefix) == name


def test_a_name_that_just_fits_is_kept() -> None:
    name = dify_user(ClientContext("u" * 250), Caller("team"), "")

    assert name == f"team:{'u' * 250}"
    assert len(name.encode()) == MAX_USER_BYTES == 255


@pytest.mark.parametrize(
    "user", ["u" * 251, "ü" * 300, "安" * 200, "🙂" * 100], ids=["ASCII", "2", "3", "4 bytes"]
)
def test_a_name_too_long_keeps_its_start_and_fits(user: str) -> None:
    name = dify_user(ClientContext(user), Caller("team"), "p-")

    assert len(name.encode()) <= MAX_USER_BYTES
    assert name.startswith(f"p-team:{user[:40]}")
    assert "\ufffd" not in name


def test_long_names_that_differ_at_the_end_stay_apart() -> None:
    names = {dify_user(ClientContext("u" * 400 + end), Caller("team"), "") for end in "abc"}

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
    first = dify_user(ClientContext(user), Caller(one), prefix)
    second = dify_user(ClientContext(others_user), Caller(other), prefix)

    assert one == other or first != second


@unhurried
@given(_caller_ids, _users, st.sampled_from(["", "p-", "安" * 20]))
def test_any_user_is_stable_and_fits(caller: str, user: str, prefix: str) -> None:
    name = dify_user(ClientContext(user), Caller(caller), prefix)

    assert name == dify_user(ClientContext(user), Caller(caller), prefix)
    assert 0 < len(name.encode()) <= MAX_USER_BYTES
