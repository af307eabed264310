"""Ids of workflow runs as clients get them: sealed, since Dify shows a run to whoever knows its id."""

import base64
import hashlib
import hmac

_SEAL_BYTES = 15
_PURPOSE = b"opendify workflow run"


def seal_run_id(run_id: str, *, app_key: str, user: str) -> str:
    """`run_id`, a dot, and a seal that only the service can make, for this app and this user of it.

    `app_key` is Dify's key for the app, which every machine that serves the model has; it
    cannot be found out from a seal.
    """
    key = hmac.digest(app_key.encode("utf-8", "replace"), _PURPOSE, hashlib.sha256)
    seal = hmac.digest(key, f"{user}\0{run_id}".encode("utf-8", "replace"), hashlib.sha256)
    return f"{run_id}.{base64.urlsafe_b64encode(seal[:_SEAL_BYTES]).decode('ascii')}"


def open_run_id(sealed: str, *, app_key: str, user: str) -> str | None:
    """Dify's id of the run; None where it was not sealed for this app and user."""
    run_id = sealed.rpartition(".")[0]
    expected = seal_run_id(run_id, app_key=app_key, user=user)
    is_sealed = hmac.compare_digest(expected.encode("utf-8", "replace"), sealed.encode("utf-8", "replace"))
    return run_id if run_id and is_sealed else None
