"""What agents and workflows do on their way → `Step`s."""

from collections.abc import Iterator

from opendify.settings import Steps
from opendify.translate.step_contents import shown_content, shown_name
from opendify.translate.turn import Step
from opendify.wire import dify

# Every graph has these, and they do nothing.
_FRAME_NODES = frozenset(
    {"start", "end", "answer", "iteration-start", "loop-start", "loop-end", "variable-aggregator"}
)
_LOG_STATUSES = {"start": "running", "success": "succeeded", "error": "failed"}


class StepReader:
    """Reads the steps of one stream as far as `steps` wants them; one object a stream."""

    def __init__(self, steps: Steps) -> None:
        self._is_off = steps == "off"
        self._with_contents = steps == "full"
        # Levels of iterations, loops and agent nodes by node id, of agent logs by their own.
        self._levels: dict[str, int] = {}

    def read(self, event: dify.StreamEvent) -> Iterator[Step]:
        """The steps that `event` tells of."""
        if self._is_off:
            return
        match event:
            case dify.AgentThought():
                yield from self._tools(event)
            case dify.NodeStarted() | dify.IterationStarted() | dify.LoopStarted():
                yield from self._node(event.data, "running")
            case dify.NodeFinished() | dify.IterationCompleted() | dify.LoopCompleted():
                yield from self._node(event.data, event.data.status or "succeeded")
            case dify.AgentLog():
                yield from self._log(event.data)
            case _:
                return

    def _tools(self, thought: dify.AgentThought) -> Iterator[Step]:
        """One round may use several tools, and tells of them together."""
        names = [name for name in (thought.tool or "").split(";") if name]
        for position, name in enumerate(names):
            yield Step(
                id=f"{thought.id}/{position}" if len(names) > 1 else thought.id or name,
                name=shown_name(name),
                type="tool",
                status="finished" if thought.observation else "running",
                input=self._content(thought.tool_input, name),
                output=self._content(thought.observation, name),
            )

    def _node(self, node: dify.NodeData, status: str) -> Iterator[Step]:
        if node.node_type in _FRAME_NODES or not (node.id or node.node_id):
            return
        level = self._level_in(node.iteration_id or node.loop_id)
        if node.node_id:
            self._levels[node.node_id] = level
        yield Step(
            id=node.id or node.node_id or "",
            name=shown_name(node.title or node.node_id or ""),
            type=node.node_type or "",
            status=status,
            level=level,
            elapsed_seconds=_number(node.elapsed_time),
            tokens=_tokens(node),
            # What went into a node holds prompts, which are the app's own business.
            output=self._content(node.outputs),
        )

    def _log(self, log: dify.AgentLogData) -> Iterator[Step]:
        if not log.id or not log.label:
            return
        level = self._level_in(log.parent_id or log.node_id)
        self._levels[log.id] = level
        status = _LOG_STATUSES.get(log.status or "", log.status or "")
        yield Step(id=log.id, name=shown_name(log.label), type="agent_log", status=status, level=level)

    def _level_in(self, outer: str | None) -> int:
        return self._levels[outer] + 1 if outer in self._levels else 0

    def _content(self, content: object, name: str = "") -> str:
        return shown_content(content, name) if self._with_contents and content else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _tokens(node: dify.NodeData) -> int | None:
    """Only what models used; nodes without one say 0 or nothing."""
    metadata = node.execution_metadata
    told = metadata.get("total_tokens") if isinstance(metadata, dict) else None
    tokens = _number(told if told is not None else node.total_tokens)
    return int(tokens) if tokens else None
