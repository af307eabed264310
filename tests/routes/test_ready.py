"""Answers that are ready when they are made."""

import pytest

from opendify.routes.ready import ReadyAnswer


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, "200 OK"), (499, "499 UNKNOWN")],
    ids=["of HTTP", "nginx's, of a client that left"],
)
def test_every_status_has_a_line(status: int, line: str) -> None:
    said: list[str] = []

    def start_response(status: str, _headers: list[tuple[str, str]], _exc: object = None) -> object:
        said.append(status)
        return lambda _: None

    ReadyAnswer((b"{}",), [], status)({"REQUEST_METHOD": "POST"}, start_response)  # type: ignore[arg-type] # Enough.

    assert said == [line]
