"""Which text of a workflow is its answer.

A workflow streams `text_chunk`s for every output of its end node, joined by line
breaks, whether a model writes it live or a code node computed it. Only live text
is worth streaming; the rest is read from the outputs when the run is over, so
that the same workflow gives the same answer on every version.
"""

from collections.abc import Mapping

from opendify.wire import dify
from opendify.wire.sse import encode_json

_LIVE_NODE_TYPES = frozenset({"llm", "agent"})
_USUAL_NAMES = ("text", "answer", "result", "output")


class WorkflowText:
    """Tells live text from computed text; one object a stream."""

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._node_types: dict[str, str] = {}
        self._separator = ""

    @property
    def was_sent(self) -> bool:
        """Whether any text went out live."""
        return bool(self._sent)

    def announce(self, node: dify.NodeData) -> None:
        """Remember the type of a node that starts."""
        if node.node_id and node.node_type:
            self._node_types[node.node_id] = node.node_type

    def feed(self, chunk: dify.TextChunkData) -> str:
        """What of `chunk` can be sent at once; separators wait until more live text follows."""
        text = chunk.text or ""
        node_type = self._node_types.get((chunk.from_variable_selector or [""])[0])
        if node_type in (None, "end") and not text.strip():
            # The line breaks between outputs bear the end node's id, often before it has started.
            self._separator += text
            return ""
        if node_type not in _LIVE_NODE_TYPES and node_type is not None:
            self._separator = ""
            return ""
        if not text:
            return ""
        if self._sent:
            text = self._separator + text
        self._separator = ""
        self._sent.append(text)
        return text

    def complete(self, answer: str) -> str:
        """What is missing of the answer when the run is over; live text that differs stands."""
        sent = "".join(self._sent)
        return answer[len(sent) :] if answer.startswith(sent) else ""


def answer_from_outputs(outputs: Mapping[str, object], name: str | None) -> str:
    """A finished workflow's answer.

    The output called `name`; without one the only text output, else the first of
    `text`, `answer`, `result`, `output` that is text, else (or for `"json"`) all
    outputs as JSON. No outputs at all are an empty answer.
    """
    if not outputs:
        return ""
    if name is not None and name != "json":
        return _as_text(outputs.get(name))
    texts = {key: value for key, value in outputs.items() if isinstance(value, str)}
    if name is None and len(texts) == 1:
        return next(iter(texts.values()))
    usual = next((texts[key] for key in _USUAL_NAMES if key in texts), None)
    if name is None and usual is not None:
        return usual
    return encode_json(dict(outputs)).decode()


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else encode_json(value).decode()
