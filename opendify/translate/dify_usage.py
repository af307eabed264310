"""What a run cost, from wherever Dify tells it."""

import msgspec

from opendify.translate.turn import CompletionUsage, Price
from opendify.wire import dify


def read_usage(usage: dify.Usage | None) -> CompletionUsage | None:
    """Counts of which `total_tokens` is the sum.

    Agents of 0.15 send a total of 0 beside real parts; some runs tell only the total.
    """
    if usage is None or (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (
        None,
        None,
        None,
    ):
        return None
    prompt, completion = int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0)
    if not prompt and not completion:
        completion = int(usage.total_tokens or 0)
    return CompletionUsage(prompt, completion)


def read_price(usage: dify.Usage | None) -> Price | None:
    """The price as Dify writes it, `"0E-7"` included."""
    if usage is None or usage.total_price is None:
        return None
    return Price(str(usage.total_price), usage.currency or "")


class UsageTally:
    """Adds up the nodes of a run, for runs whose end tells no usage of its own."""

    def __init__(self) -> None:
        self._total_tokens: int | float | None = None
        self._nodes: list[CompletionUsage] = []

    def add(self, node: dify.NodeData) -> None:
        """Count a finished node; only LLM and agent nodes have usage."""
        usage = _node_usage(node.outputs) or _node_usage(node.process_data)
        if usage:
            self._nodes.append(usage)

    def finish(self, run: dify.WorkflowFinishedData) -> None:
        """Take in the run's own total."""
        self._total_tokens = run.total_tokens

    def usage(self) -> CompletionUsage | None:
        """The nodes' sum, else the run's total as completion tokens, else None rather than a guess."""
        if self._nodes:
            return CompletionUsage(
                sum(node.prompt_tokens for node in self._nodes),
                sum(node.completion_tokens for node in self._nodes),
            )
        if self._total_tokens is None:
            return None
        return CompletionUsage(0, int(self._total_tokens))


def _node_usage(values: object) -> CompletionUsage | None:
    usage = values.get("usage") if isinstance(values, dict) else None
    if not isinstance(usage, dict) or "total_tokens" not in usage:
        return None  # An output that merely bears this name.
    try:
        return read_usage(msgspec.convert(usage, dify.Usage))
    except msgspec.ValidationError:
        return None
