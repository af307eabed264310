"""Requests that clients make behind a chat: titles, tags, follow-ups, search queries, autocompletion.

They come through the same endpoint, with the same chat id, and must never enter the
person's conversation. Told by exact header where the client sends one (see
`identity.TASK_HEADER`), else by shape and text: a heuristic, since operators can
edit the prompts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from opendify.translate.turn import Turn


@dataclass(frozen=True, slots=True)
class TaskRule:
    """One row: how the query of a client's own request begins, or its system prompt.

    `lone` ones stand alone, without a history; `streams` is whether such a request may be streamed.
    """

    client: str
    query: str = ""
    system: str = ""
    lone: bool = True
    streams: bool = False


# Its RAG template begins alike and is a real turn; that one has `<context>` and no chat history.
_OPEN_WEBUI_TASK = r"(?-i:### Task:)(?-i:(?=[\s\S]*<chat_history>)(?![\s\S]*<context>))"

TASK_RULES: tuple[TaskRule, ...] = (
    TaskRule("Open WebUI", _OPEN_WEBUI_TASK),
    TaskRule("Open WebUI", r"### Task:\s*You are an autocompletion system"),
    TaskRule("Open WebUI", r"Your task is to reflect the speaker's likely facial expression"),
    TaskRule("Open WebUI", system=r"Available Tools:"),
    TaskRule("LibreChat", r"Provide a concise, 5-word-or-less title for the conversation"),
    TaskRule("LibreChat", r"Analyze this conversation and provide(?=[\s\S]*detected language)"),
    TaskRule("LibreChat", r"Please generate a concise title \(max 40 characters\)"),
    TaskRule("LibreChat", system=r"Write a short label describing what this block of agent activity"),
    TaskRule("LibreChat", system=r"Write a short orientation title for a user-visible reasoning step"),
    TaskRule("LibreChat", system=r"Summarize what this phase of an agent run accomplished"),
    # A chat that outgrows its window is summed up so: at the end of the real history.
    TaskRule(
        "LibreChat",
        r"Hold on, before you continue I need you to write me a checkpoint",
        lone=False,
        streams=True,
    ),
    TaskRule("LibreChat", r"Hold on again, update your checkpoint\.", lone=False, streams=True),
    TaskRule("gptme", r"Your task: Create a 2-4 word title"),
    TaskRule(
        "LobeChat",
        system=r"You are a professional conversation summarizer\. Generate a concise title",
        streams=True,
    ),
    TaskRule(
        "LobeChat",
        system=r".{0,200}(summari[sz]e.{1,80}title within 10 characters|总结为 ?10 ?个字以内的标题)",
        streams=True,
    ),
    TaskRule(
        "Cherry Studio",
        system=r"Summarize the conversation into a title in .{1,40} within 10 (words|characters)",
        streams=True,
    ),
    # NextChat appends these to the real history, so that they look like a turn of the chat.
    TaskRule(
        "NextChat",
        r"Please generate a four to five word title summarizing our conversation",
        lone=False,
        streams=True,
    ),
    TaskRule("NextChat", r"使用四到五个字直接返回这句话的简要主题", lone=False, streams=True),
    TaskRule(
        "NextChat",
        r"Summarize the discussion briefly in 200 words or less to use as a prompt",
        lone=False,
        streams=True,
    ),
    TaskRule("NextChat", r"简要总结一下对话内容.用作后续的上下文提示", lone=False, streams=True),
)


def is_task(turn: Turn, *, streamed: bool) -> bool:
    """Whether no person said this."""
    has_history = bool(turn.history)
    if _QUERIES[streamed, has_history].match(turn.query):
        return True
    return not has_history and _SYSTEMS[streamed].match(turn.system) is not None


def _any_of(beginnings: Iterable[str]) -> re.Pattern[str]:
    """Looks for all of them at once, since nearly every request is none; the empty one for no rule."""
    found = "|".join(f"(?:{each})" for each in beginnings if each)
    return re.compile(rf"\s*+(?:{found or '(?!)'})", re.IGNORECASE)


_RULES = {True: [rule for rule in TASK_RULES if rule.streams], False: TASK_RULES}
_QUERIES = {
    (streamed, has_history): _any_of(rule.query for rule in rules if not (rule.lone and has_history))
    for streamed, rules in _RULES.items()
    for has_history in (False, True)
}
_SYSTEMS = {streamed: _any_of(rule.system for rule in rules) for streamed, rules in _RULES.items()}
