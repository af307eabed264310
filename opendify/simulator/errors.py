"""Dify's error answers, in the words of each version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opendify.simulator.versions import Quirks

NOT_UNDERSTOOD = "The browser (or proxy) sent a request that this server could not understand."
NOT_JSON = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
HTML_NOT_FOUND = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    "<p>The requested URL was not found on the server. If you entered the URL manually "
    "please check your spelling and try again.</p>\n"
)
_INPUT_SHOWN = 50
_PYDANTIC_PAGES = "https://errors.pydantic.dev/2.11/v/"


class DifyError(Exception):
    """An error that Dify answers with an HTTP status and a JSON body.

    `params` names a bad field, as the versions before 1.8.0 do; such bodies have
    no `status`.
    """

    def __init__(self, status: int, code: str, message: str, *, params: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.params = params

    def to_body(self) -> dict[str, object]:
        if self.params is not None:
            return {"code": self.code, "message": self.message, "params": self.params}
        return {"code": self.code, "message": self.message, "status": self.status}


@dataclass(frozen=True)
class FieldFault:
    """What is wrong with one field of a request, for both styles of error text.

    `old` is the text of versions before 1.8.0; `kind` and `text` are pydantic's.
    """

    model: str
    field: str
    kind: str
    text: str
    value: object
    old: str


def invalid_param(message: str) -> DifyError:
    return DifyError(400, "invalid_param", message)


def not_found(message: str, quirks: Quirks, path: str = "") -> DifyError:
    """A 404 raised inside a route; newer versions append the routes that look alike to `path`."""
    if quirks.suggests_routes_on_404 and path:
        message = (
            f"{message} You have requested this URI [{path}] but did you mean {path} or /api{path[3:]} ?"
        )
    return DifyError(404, "not_found", message)


def unauthorized(message: str) -> DifyError:
    return DifyError(401, "unauthorized", message)


def app_unavailable() -> DifyError:
    return DifyError(400, "app_unavailable", "App unavailable, please check your app configurations.")


def wrong_mode(code: str) -> DifyError:
    return DifyError(400, code, "Please check if your app mode matches the right API route.")


def internal_error(quirks: Quirks) -> tuple[Mapping[str, object], int]:
    """The body of an exception nobody caught; older versions leave out `status`."""
    body: dict[str, object] = {"message": "Internal Server Error", "code": "unknown"}
    if quirks.suggests_routes_on_404:
        body["status"] = 500
    return body, 500


def field_error(fault: FieldFault, quirks: Quirks) -> DifyError:
    if not quirks.pydantic_errors:
        return DifyError(400, "invalid_param", fault.old, params=fault.field)
    shown = _shorten(repr(fault.value))
    return invalid_param(
        f"1 validation error for {fault.model}\n{fault.field}\n  {fault.text} "
        f"[type={fault.kind}, input_value={shown}, input_type={type(fault.value).__name__}]\n"
        f"    For further information visit {_PYDANTIC_PAGES}{fault.kind}"
    )


def missing_field(model: str, name: str, body: Mapping[str, object], quirks: Quirks, place: str) -> DifyError:
    """`place` is where versions before 1.8.0 say that they looked, e.g. "the JSON body"."""
    old = f"Missing required parameter in {place}"
    return field_error(FieldFault(model, name, "missing", "Field required", dict(body), old), quirks)


def whole_body_error(model: str, text: str, body: Mapping[str, object]) -> DifyError:
    """pydantic's error for a rule about several fields."""
    shown = _shorten(repr(body))
    return invalid_param(
        f"1 validation error for {model}\n  Value error, {text} "
        f"[type=value_error, input_value={shown}, input_type=dict]\n"
        f"    For further information visit {_PYDANTIC_PAGES}value_error"
    )


def _shorten(text: str) -> str:
    if len(text) <= _INPUT_SHOWN:
        return text
    return f"{text[:25]}...{text[-24:]}"
