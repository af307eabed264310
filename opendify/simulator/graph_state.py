"""Where a run of a graph stands: its nodes so far, its text, its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from opendify.simulator import nodes
from opendify.simulator.model import PromptMessage
from opendify.simulator.nodes import Node, NodeResult
from opendify.simulator.turns import Turn

Json = dict[str, object]


class RunModeratedError(Exception):
    """The output filter ended the run."""


class CodeFailedError(Exception):
    """A code node failed; the text is its traceback."""


@dataclass
class GraphRun:
    """One run of a chatflow or workflow. `said` are the tokens of all its models."""

    turn: Turn
    prompt: Sequence[PromptMessage]
    sequence_number: int
    steps: int = 0
    last_node: str | None = None
    said: list[str] = field(default_factory=list)
    tokens: int = 0
    reasoning: str = ""

    def next_node(self, node_id: str, node_type: str, title: str) -> Node:
        self.steps += 1
        node = Node(node_id, node_type, title, self.steps, self.last_node)
        self.last_node = node_id
        return node

    def pass_node(self, node_id: str, node_type: str, title: str, result: NodeResult) -> Iterator[Json]:
        """A node that starts and ends at once."""
        node = self.next_node(node_id, node_type, title)
        yield nodes.node_started(self.turn, node)
        yield nodes.node_finished(self.turn, node, result)

    def given_files(self) -> list[Json]:
        """The files of the question and those among the inputs."""
        inputs = [value for value in self.turn.inputs.values() if isinstance(value, dict)]
        return [*self.turn.files, *inputs]
