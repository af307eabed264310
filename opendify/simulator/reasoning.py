"""How reasoning reaches the text: as `<think>`, as `<details>`, or apart from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opendify.simulator.model import Reason, Say, Step

_DETAILS = (
    '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" open>'
    " <summary> Thinking... </summary>"
)


def inline_reasoning(steps: Iterable[Step], *, details: bool) -> Iterator[Step]:
    """Turn separate reasoning tokens into marked text before the answer."""
    opening, closing = (_DETAILS, "</details>") if details else ("<think>\n", "\n</think>")
    inside = False
    for step in steps:
        match step:
            case Reason(text):
                yield Say(text if inside else opening + text.lstrip())
                inside = True
            case Say(text) if inside:
                yield Say(closing + text)
                inside = False
            case _:
                yield step


def drop_reasoning(steps: Iterable[Step]) -> Iterator[Step]:
    return (step for step in steps if not isinstance(step, Reason))


def think_as_details(steps: Iterable[Step]) -> Iterator[Step]:
    """Rewrite `<think>` tags as 0.15.3 does while it streams."""
    for step in steps:
        if isinstance(step, Say):
            yield Say(step.text.replace("<think>", _DETAILS).replace("</think>", "</details>"))
        else:
            yield step
