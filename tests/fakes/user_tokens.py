"""Signed users as Open WebUI makes them.

Source: open-webui, `backend/open_webui/utils/headers.py`
"""

import json
import time

import jwt

SECRET = "a secret that both sides know and nobody else, long enough for every algorithm"
_LIFETIME_SECONDS = 300


def sign_user(
    user: str,
    *,
    secret: str = SECRET,
    algorithm: str = "HS256",
    age_seconds: int = 0,
    without: str = "",
    **changed: object,
) -> str:
    """A token of so many seconds ago, with some claims changed or left out."""
    issued_at = int(time.time()) - age_seconds
    claims: dict[str, object] = {
        "sub": user,
        "email": "ann@mail.test",
        "name": "Ann",
        "role": "user",
        "iss": "open-webui",
        "iat": issued_at,
        "exp": issued_at + _LIFETIME_SECONDS,
        **changed,
    }
    claims.pop(without, None)
    # Its own checks would stop the odd tokens that are wanted here.
    return jwt.PyJWS().encode(_as_json(claims), secret, algorithm=algorithm)


def _as_json(claims: dict[str, object]) -> bytes:
    return json.dumps(claims).encode()
