"""A turn's place that only writes down what happened to it."""

from opendify.translate.dify_request import RunText
from opendify.translate.turn import ReplyStarted


class FakeHeldTurn:
    """`story` is what happened, in order; `keep` is too frequent to be told."""

    def __init__(self, *, accepts: bool = True, can_begin_anew: bool = True) -> None:
        self.text = RunText("Hi", {})
        self.user = "user"
        self.conversation_id: str | None = None
        self.memory_was_lost = False
        self.story: list[str] = []
        self._accepts = accepts
        self._can_begin_anew = can_begin_anew

    def started(self, reply: ReplyStarted) -> bool:
        self.story.append("started")
        return self._accepts

    def begin_anew(self) -> bool:
        self.story.append("begun anew")
        self._accepts = True
        return self._can_begin_anew

    def keep(self) -> None:
        return

    def finish(self, answer: str) -> None:
        self.story.append(f"finished: {answer}")

    def abandon(self, *, may_have_begun: bool) -> None:
        self.story.append("abandoned")
