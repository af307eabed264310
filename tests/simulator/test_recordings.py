"""The simulator against what real servers answered: status, headers, events, keys and types."""

from __future__ import annotations

import re

import pytest

from tests.simulator.replay import Exchange, read_scenario, replay, scenario_names

# Objects whose keys are an app's own names: of tools, of languages.
_FREE_FORM = frozenset({"tool_icons", "tool_labels", "process_data"})
_ROUTE_HINT = re.compile(r" You have requested this URI .*")
_QUOTED_INPUT = re.compile(r"input_value=.*?, input_type")
_ID = re.compile(r"<id \d+>|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=req_id: )[0-9a-f]+")


def shape(value: object, key: str = "") -> object:
    """Keys and JSON types; numbers are alike, a list is known by its first item."""
    match value:
        case dict():
            return (
                "object" if key in _FREE_FORM else {name: shape(part, name) for name, part in value.items()}
            )
        case list():
            return ["list", *([shape(value[0], key)] if value else [])]
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


def comparable_text(message: object) -> str:
    text = _ROUTE_HINT.sub("", str(message))
    return _ID.sub("<id>", _QUOTED_INPUT.sub("input_type", text))


@pytest.fixture
def exchange(request: pytest.FixtureRequest) -> Exchange:
    name, case = request.param
    return replay(name)[case]


def exchanges(part: str = "status") -> pytest.MarkDecorator:
    """Every recorded exchange whose answer has `part`."""
    cases = [
        (name, line["case"])
        for name in scenario_names()
        for line in read_scenario(name)
        if part in line["answer"]
    ]
    return pytest.mark.parametrize(
        "exchange", cases, indirect=True, ids=[f"{name}/{case}" for name, case in cases]
    )


@exchanges()
def test_status_type_and_headers_are_the_recorded_ones(exchange: Exchange) -> None:
    recorded = exchange.recorded

    assert exchange.answer.status_code == recorded["status"]
    assert exchange.answer.headers.get("Content-Type") == recorded["content_type"]
    assert set(recorded["headers"]) <= set(exchange.answer.headers.keys())


@exchanges("json")
def test_bodies_have_the_recorded_keys_and_types(exchange: Exchange) -> None:
    assert shape(exchange.body) == shape(exchange.recorded["json"])


@exchanges("text")
def test_pages_have_the_recorded_text(exchange: Exchange) -> None:
    assert exchange.answer.get_data(as_text=True) == exchange.recorded["text"]


@exchanges("events")
def test_streams_have_the_recorded_events(exchange: Exchange) -> None:
    recorded = exchange.recorded["events"]

    assert exchange.events is not None
    assert [event["event"] for event in exchange.events] == [event["event"] for event in recorded]
    for event, wanted in zip(exchange.events, recorded, strict=True):
        assert shape(event) == shape(wanted)
        assert event.get("code") == wanted.get("code")
        assert comparable_text(event.get("message")) == comparable_text(wanted.get("message"))


@exchanges("json")
def test_answers_and_errors_have_the_recorded_words(exchange: Exchange) -> None:
    wanted, body = exchange.recorded["json"], exchange.body

    assert isinstance(body, dict)
    for key in ("code", "params", "mode", "answer", "result", "has_more", "limit"):
        assert body.get(key) == wanted.get(key)
    assert comparable_text(body.get("message")) == comparable_text(wanted.get("message"))
