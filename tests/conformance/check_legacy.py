"""`/completions`, whole and streamed."""

from tests.conformance.check_chat import check_usage
from tests.conformance.check_stream import read_frames
from tests.conformance.judge import INVALID_REQUEST_CODES, Judge, Shape


def check_legacy(judge: Judge) -> None:
    """A prompt's answer, in both forms, and prompts that cannot be served."""
    body = {"model": judge.target.model, "prompt": judge.target.prompt, "user": judge.target.user}
    whole = judge.read_json("completions", judge.ask("POST", "/completions", body=body))
    if whole is not None:
        judge.check_schema("completions", "CreateCompletionResponse", whole)
        judge.check(
            "completions: the id begins cmpl-", str(whole.get("id")).startswith("cmpl-"), whole, "WARN"
        )
        check_usage(judge, "completions", whole.get("usage"))
    streamed = judge.ask("POST", "/completions", body=body | {"stream": True})
    for chunk in read_frames(judge, "completions stream", streamed):
        judge.check_schema("completions stream", "CreateCompletionResponse", _ended(chunk))
    tokens = judge.ask("POST", "/completions", body=body | {"prompt": [1, 2, 3]})
    if tokens.status_code != 200:
        judge.check_error("completions with tokens", tokens, [400], INVALID_REQUEST_CODES, "prompt")


def _ended(chunk: Shape) -> Shape:
    """OpenAI has no schema for a chunk in mid-stream, whose `finish_reason` is null."""
    choices = [
        choice | {"finish_reason": choice.get("finish_reason") or "stop"}
        for choice in chunk.get("choices", [])
    ]
    return chunk | {"choices": choices}
