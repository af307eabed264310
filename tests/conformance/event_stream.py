"""A streamed answer, taken apart, with the framing faults that some client cannot read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the values of its `data` lines joined, and the names of all its fields."""

    data: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventStreamText:
    """A whole stream; comments are not among the events."""

    events: tuple[Event, ...]
    faults: tuple[str, ...]


def read_event_stream(body: bytes) -> EventStreamText:
    """Take a stream apart.

    Raises:
        UnicodeDecodeError: It is not UTF-8.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    faults = [
        fault
        for fault, found in (
            ("starts with a byte order mark", body.startswith(b"\xef\xbb\xbf")),
            ("uses CR line ends, and some clients split on LF LF only", b"\r" in body),
            ("does not end with a blank line", not body.endswith(b"\n\n")),
        )
        if found
    ]
    events = []
    for block in body.decode("utf-8").replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line]
        fields = [line.partition(":") for line in lines if not line.startswith(":")]
        if fields and len(fields) < len(lines):
            faults.append("a comment shares a block with fields; a blank line must end it")
        if fields:
            values = [value.removeprefix(" ") for name, _, value in fields if name == "data"]
            events.append(Event("\n".join(values), tuple(name for name, _, _ in fields)))
    return EventStreamText(tuple(events), tuple(dict.fromkeys(faults)))
