"""Forms on which a run of Dify waits for a person (since 1.13.0): asked as text, answered by text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from opendify.wire import dify

INVITATION = "Reply with one of: "
"""Stands in every answer that asks; without it no reply need be looked at as one."""

_PLACEHOLDER = re.compile(r"\{\{#\$output\.([^#}]+)#\}\}")
_AROUND_A_CHOICE = " \t.!,:;\"'`*()[]"


@dataclass(frozen=True, slots=True)
class FormAction:
    """One of a form's choices."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class PausedRun:
    """A run that goes on once its form is answered; `form_token` lets whoever has it answer.

    `fields` are the names of what can be filled in; `expires_at` is Unix time.
    """

    run_id: str
    form_token: str
    actions: tuple[FormAction, ...]
    fields: tuple[str, ...] = ()
    conversation_id: str | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"PausedRun({self.run_id!r})"


@dataclass(frozen=True, slots=True)
class FormAnswer:
    """What a person chose and filled in."""

    action: str
    inputs: Mapping[str, str]


def read_form(event: dify.HumanInputRequired) -> PausedRun | None:
    """None for a form that cannot be answered here: it has no token, or no choices."""
    form = event.data
    actions = tuple(
        FormAction(str(action["id"]), str(action.get("title") or action["id"]))
        for action in _objects(form.actions)
        if action.get("id")
    )
    if not (form.form_token and event.workflow_run_id and actions):
        return None
    expires_at = form.expiration_time
    return PausedRun(
        event.workflow_run_id,
        form.form_token,
        actions,
        tuple(filter(None, map(_field_name, _objects(form.inputs)))),
        event.conversation_id,
        float(expires_at) if isinstance(expires_at, int | float) else None,
    )


def form_text(content: str, paused: PausedRun) -> str:
    """What a person is asked, and how to answer."""
    asked = _PLACEHOLDER.sub(lambda field: f"[{field[1]}]", content).strip()
    lines = [INVITATION + ", ".join(f"**{action.title}**" for action in paused.actions)]
    match paused.fields:
        case ():
            pass
        case (field,):
            lines.append(f"What you write on the lines below it becomes `{field}`.")
        case fields:
            lines.append("Below it, a line each: " + ", ".join(f"`{field}: …`" for field in fields))
    return "\n\n".join([asked, "\n".join(lines)] if asked else ["\n".join(lines)])


def read_form_answer(paused: PausedRun, reply: str) -> FormAnswer | None:
    """What `reply` chooses, by title, id or number; None where it is about something else.

    A form with one choice and one field takes any reply as that field.
    """
    first, _, rest = reply.strip().partition("\n")
    for number, action in enumerate(paused.actions, start=1):
        if _bare(first) in {_bare(action.title), _bare(action.id), str(number)}:
            return FormAnswer(action.id, _filled_in(paused.fields, rest.strip()))
    if len(paused.actions) == len(paused.fields) == 1:
        return FormAnswer(paused.actions[0].id, {paused.fields[0]: reply.strip()})
    return None


def _filled_in(fields: tuple[str, ...], rest: str) -> Mapping[str, str]:
    if len(fields) == 1:
        return {fields[0]: rest}
    lines = [line.partition(":") for line in rest.splitlines()]
    given = {_bare(name): value.strip() for name, _, value in lines}
    return {field: given.get(_bare(field), "") for field in fields}


def _field_name(field: Mapping[str, object]) -> str:
    names = (field.get(name) for name in ("output_variable_name", "variable", "name"))
    return next((name for name in names if isinstance(name, str)), "")


def _objects(listed: object) -> list[Mapping[str, object]]:
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _bare(choice: str) -> str:
    return choice.strip(_AROUND_A_CHOICE).casefold()
