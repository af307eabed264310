"""Requests that clients make behind a chat: titles, tags, follow-ups, search queries, autocompletion.

They come through the same endpoint, with the same chat id, and must never enter the
person's conversation. Told by exact header where the client sends one (see
`identity.TASK_HEADER`), else by shape and text: a heuristic, since operators can
edit the prompts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from opendify.translate.turn import Turn

_Rule = Callable[[Turn], bool]


@dataclass(frozen=True, slots=True)
class TaskRule:
    """One row: `streams` is whether such a request may be streamed."""

    client: str
    applies: _Rule
    streams: bool = False


def _starts(pattern: str, *, lone: bool = True) -> _Rule:
    expression = re.compile(pattern, re.IGNORECASE)

    def applies(turn: Turn) -> bool:
        return bool(expression.match(turn.query.lstrip())) and not (lone and turn.history)

    return applies


def _system_starts(pattern: str) -> _Rule:
    expression = re.compile(pattern, re.IGNORECASE)
    return lambda turn: not turn.history and bool(expression.match(turn.system.lstrip()))


def _open_webui_task(turn: Turn) -> bool:
    """Its RAG template begins alike and is a real turn; that one has `<context>` and no chat history."""
    return (
        not turn.history
        and turn.query.lstrip().startswith("### Task:")
        and "<chat_history>" in turn.query
        and "<context>" not in turn.query
    )


TASK_RULES: tuple[TaskRule, ...] = (
    TaskRule("Open WebUI", _open_webui_task),
    TaskRule("Open WebUI", _starts(r"### Task:\s*You are an autocompletion system")),
    TaskRule("Open WebUI", _starts(r"Your task is to reflect the speaker's likely facial expression")),
    TaskRule("Open WebUI", _system_starts(r"Available Tools:")),
    TaskRule("LibreChat", _starts(r"Provide a concise, 5-word-or-less title for the conversation")),
    TaskRule("LibreChat", _starts(r"Analyze this conversation and provide(?=[\s\S]*detected language)")),
    TaskRule("LibreChat", _starts(r"Please generate a concise title \(max 40 characters\)")),
    TaskRule(
        "LobeChat",
        _system_starts(r"You are a professional conversation summarizer\. Generate a concise title"),
        streams=True,
    ),
    TaskRule(
        "LobeChat",
        _system_starts(r".{0,200}(summari[sz]e.{1,80}title within 10 characters|总结为 ?10 ?个字以内的标题)"),
        streams=True,
    ),
    TaskRule(
        "Cherry Studio",
        _system_starts(r"Summarize the conversation into a title in .{1,40} within 10 (words|characters)"),
        streams=True,
    ),
    # NextChat appends these to the real history, so that they look like a turn of the chat.
    TaskRule(
        "NextChat",
        _starts(r"Please generate a four to five word title summarizing our conversation", lone=False),
        streams=True,
    ),
    TaskRule("NextChat", _starts(r"使用四到五个字直接返回这句话的简要主题", lone=False), streams=True),
    TaskRule(
        "NextChat",
        _starts(r"Summarize the discussion briefly in 200 words or less to use as a prompt", lone=False),
        streams=True,
    ),
    TaskRule("NextChat", _starts(r"简要总结一下对话内容.用作后续的上下文提示", lone=False), streams=True),
)


def is_task(turn: Turn, *, streamed: bool) -> bool:
    """Whether no person said this."""
    return any(rule.applies(turn) for rule in TASK_RULES if rule.streams or not streamed)
