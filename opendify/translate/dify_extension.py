"""The one extension object, `dify`: what an app tells and OpenAI's shapes have no place for."""

from collections.abc import Mapping
from dataclasses import asdict

from opendify.translate.turn import AnswerFile, Citation, Extras, Reply, Step


def dify_extension(extras: Extras | Reply) -> dict[str, object]:
    """The object; keys without a value are left out, in lists too."""
    started, ended = extras.started, extras.ended
    shape: dict[str, object] = {}
    for name in ("conversation_id", "message_id", "task_id"):
        if (id_ := getattr(started, name)) is not None:
            shape[name] = id_
    if extras.citations:
        shape["citations"] = [_known(asdict(citation)) for citation in extras.citations]
    if extras.steps:
        shape["steps"] = [_step(step) for step in extras.steps]
    if extras.files:
        shape["files"] = [_file(file) for file in extras.files]
    if ended.price:
        shape["price"] = {"total": ended.price.total, "currency": ended.price.currency}
    if ended.outputs is not None:
        shape["outputs"] = ended.outputs
    return shape


def url_annotations(citations: tuple[Citation, ...], text_length: int) -> list[dict[str, object]]:
    """OpenAI's `annotations` for those that have a URL; which words each belongs to, Dify does not tell.

    Source: openai-openapi, `ChatCompletionResponseMessage.annotations`
    """
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": text_length,
                "end_index": text_length,
                "url": citation.url,
                "title": citation.document_name or citation.url,
            },
        }
        for citation in citations
        if citation.url
    ]


def _file(file: AnswerFile) -> dict[str, object]:
    names = ("id", "type", "url", "filename", "mime_type", "size")
    return _known({name: getattr(file, name) for name in names})


def _step(step: Step) -> dict[str, object]:
    """Empty texts are left out as well: they were not wanted, or there were none."""
    shape = {**asdict(step), "input": step.input or None, "output": step.output or None}
    return _known(shape)


def _known(shape: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in shape.items() if value is not None}
