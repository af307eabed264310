"""Signed users: who Open WebUI says is speaking, proved by a shared secret."""

from opendify.errors import Unauthorized


def read_user_token(token: str, secret: str) -> str:
    """The user's id in an HS256 token of Open WebUI's.

    Raises:
        Unauthorized: Wrongly signed, expired, from another issuer, or without a user.

    Source: open-webui, `backend/open_webui/utils/headers.py`
    """
    import jwt  # It brings all of `cryptography`, and most services sign no users.

    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer="open-webui",
            options={"require": ["exp", "iat", "sub"], "verify_aud": False},
            leeway=30,
        )
    except jwt.InvalidTokenError as error:
        raise Unauthorized(
            "The signed user header is not valid for this service.", code="invalid_user_token"
        ) from error
    user = str(claims["sub"]).strip()
    if not user:
        raise Unauthorized("The signed user header names no user.", code="invalid_user_token")
    return user
