import base64

import pytest

from opendify.translate.step_contents import MAX_CONTENT_CHARS, shown_content

BYTES = base64.b64encode(bytes(range(256))).decode()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        pytest.param("It is noon.", "It is noon.", id="text"),
        pytest.param("two\n\n  lines", "two lines", id="lines"),
        pytest.param({"city": "Köln", "n": 1}, '{"city":"Köln","n":1}', id="an object"),
        pytest.param('{"weekday": "Monday"}', "Monday", id="a tool's wrapping"),
        pytest.param('{"weekday": "{\\"a\\": 1}"}', '{"a":1}', id="wrapped JSON"),
        pytest.param("{no JSON", "{no JSON", id="nearly JSON"),
        pytest.param(["a", None], '["a",null]', id="a list"),
        pytest.param(
            {"api_key": "x", "a": {"Password": "y"}},
            '{"api_key":"<secret>","a":{"Password":"<secret>"}}',
            id="secrets by name",
        ),
        pytest.param(
            '{"headers": {"Set-Cookie": "sid=1"}}',
            '{"headers":{"Set-Cookie":"<secret>"}}',
            id="secrets in JSON",
        ),
        pytest.param({"token": ""}, '{"token":""}', id="no secret"),
        pytest.param("use sk-proj-AbCdEf123456 now", "use <key> now", id="a key"),
        pytest.param("Authorization: Bearer abc.def.ghi", "Authorization: Bearer <key>", id="a bearer"),
        pytest.param("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "<key>", id="a signed token"),
        pytest.param(f"![x](data:image/png;base64,{BYTES})", "![x](<data>)", id="a data URL"),
        pytest.param({"blob": BYTES}, '{"blob":"<data>"}', id="base64"),
        pytest.param(
            "see https://dify.example/files/a.png?sign=abc&nonce=1 there",
            "see https://dify.example/files/a.png?… there",
            id="a signed link",
        ),
        pytest.param("https://ann:pw@example.com/x", "https://example.com/x", id="a password in a link"),
    ],
)
def test_contents_are_shown_without_what_nobody_should_see(content: object, shown: str) -> None:
    assert shown_content(content, "weekday") == shown


def test_long_contents_are_cut() -> None:
    shown = shown_content("word " * 1_000)

    assert len(shown) == MAX_CONTENT_CHARS
    assert shown.endswith("…")


def test_contents_nested_too_deep_are_not_shown() -> None:
    nested: object = "x"
    for _ in range(100_000):
        nested = [nested]

    assert shown_content(nested) == "…"
