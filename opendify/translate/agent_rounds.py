"""The text of an agent, who speaks in rounds: thinks, calls a tool, looks at what it gave, thinks again."""

from opendify.wire import dify

# Fewer characters than this agree by chance: "look at A" + "Apples" are two texts.
_SMALLEST_OVERLAP = 8


class AgentRounds:
    """What the rounds of one stream said; one object a stream.

    Dify streams the texts of all rounds with nothing between them, and stores them
    joined by line breaks. Each round begins with an `agent_thought` of its own id.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        """What a whole answer might repeat."""
        self._said_in_round = ""
        self._thought_id: str | None = None
        self._thought = ""
        self._gap = ""

    def add_text(self, text: str) -> str:
        """`text` of an `agent_message`, apart from what earlier rounds said."""
        if not text:
            return ""
        self._said_in_round += text
        if self.sent:
            text = self._gap + text
        self._gap = ""
        self.sent.append(text)
        return text

    def add_thought(self, event: dify.AgentThought) -> str:
        """Thinking of the round that `event` ends, if it was not said aloud."""
        unsaid = ""
        if event.id != self._thought_id:
            unsaid = self._unsaid_thought()
            self._gap += "\n" if self._thought_id else ""
            self._thought_id, self._said_in_round = event.id, ""
        self._thought = event.thought or self._thought
        return unsaid

    def not_yet_sent(self, answer: str) -> str:
        """`answer` without what was already streamed of it.

        From 1.16.0 on, mode `agent` streams `agent_message`s while it works and then
        sends the complete final answer once more in one `message`.
        """
        if not self.sent or not answer:
            return answer
        sent = "".join(self.sent)
        self.sent.clear()
        if sent.rstrip().endswith(answer.strip()):
            return ""
        overlap = _overlap(sent, answer)
        return answer[overlap:] if overlap >= _SMALLEST_OVERLAP else f"\n\n{answer}"

    def _unsaid_thought(self) -> str:
        """Thinking of a round in which nothing was said; usually it repeats what is streamed."""
        thought, self._thought = self._thought.strip(), ""
        return "" if self._said_in_round.strip() else thought


def _overlap(sent: str, answer: str) -> int:
    """How many characters at the start of `answer` already stand at the end of `sent`."""
    start = max(0, len(sent) - len(answer))
    while answer and (start := sent.find(answer[0], start)) >= 0:
        if answer.startswith(sent[start:]):
            return len(sent) - start
        start += 1
    return 0
