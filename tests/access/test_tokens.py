"""Open WebUI's signed users."""

from collections.abc import Mapping

import jwt
import pytest

from opendify.access.tokens import read_user_token
from opendify.errors import Unauthorized
from tests.fakes.user_tokens import SECRET, sign_user


def test_a_good_token_names_its_user() -> None:
    assert read_user_token(sign_user("ann"), SECRET) == "ann"


@pytest.mark.parametrize("late_by", [0, 20], ids=["just in time", "by clocks that differ a little"])
def test_a_token_may_be_used_until_it_expires(late_by: int) -> None:
    assert read_user_token(sign_user("ann", age_seconds=300 + late_by - 5), SECRET) == "ann"


def test_an_audience_is_not_ours_to_judge() -> None:
    assert read_user_token(sign_user("ann", aud="tools"), SECRET) == "ann"


BAD: dict[str, str] = {
    "expired": sign_user("ann", age_seconds=400),
    "from the future": sign_user("ann", age_seconds=-86_400),
    "wrong signature": sign_user("ann", secret="z" * 32),
    "another algorithm": sign_user("ann", algorithm="HS512"),
    "unsigned": sign_user("ann", secret="", algorithm="none"),
    "another issuer": sign_user("ann", iss="somebody"),
    "no issuer": sign_user("ann", without="iss"),
    "never expiring": sign_user("ann", without="exp"),
    "undated": sign_user("ann", without="iat"),
    "no user": sign_user("ann", without="sub"),
    "an empty user": sign_user(""),
    "a blank user": sign_user("  "),
    "a user that is a number": sign_user("ann", sub=7),
    "no token": "ann",
    "nothing": "",
    "odd characters": "ä.ö.ü",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_401_and_not_repeated(token: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        read_user_token(token, SECRET)

    assert (refused.value.status, refused.value.code) == (401, "invalid_user_token")
    assert not token or token not in str(refused.value)


def test_a_forged_body_under_a_good_signature_is_refused() -> None:
    def parts(token: str) -> list[str]:
        return token.split(".")

    head, _, signature = parts(sign_user("ann"))
    body = parts(sign_user("bob"))[1]

    with pytest.raises(Unauthorized):
        read_user_token(f"{head}.{body}.{signature}", SECRET)


def test_the_tokens_of_this_test_are_as_open_webui_makes_them() -> None:
    claims: Mapping[str, object] = jwt.decode(sign_user("ann"), options={"verify_signature": False})

    assert set(claims) == {"sub", "email", "name", "role", "iss", "iat", "exp"}
