"""Chat completions and text completions, as views."""

from collections.abc import Mapping

from opendify.gateway import Gateway
from opendify.routes.answers import event_stream
from opendify.routes.asking import Asking, whole_answer
from opendify.routes.express import View
from opendify.routes.ready import ReadyAnswer
from opendify.wire.openai_chat import ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest


class Completions:
    """Each takes a slot until its answer is closed, and none knows Flask; see `express`."""

    def __init__(self, gateway: Gateway, asking: Asking) -> None:
        self._gateway = gateway
        self._asking = asking

    def views(self) -> Mapping[str, View]:
        """By their URLs' paths."""
        return {
            "/v1/chat/completions": self.create_chat_completion,
            "/v1/completions": self.create_completion,
        }

    def create_chat_completion(self) -> ReadyAnswer:
        """`POST /v1/chat/completions`."""
        body, person = self._asking.enter(ChatCompletionRequest)
        if body.stream:
            return event_stream(self._gateway.stream_chat_completion(body, person))
        return whole_answer(self._gateway.create_chat_completion(body, person))

    def create_completion(self) -> ReadyAnswer:
        """`POST /v1/completions`."""
        body, person = self._asking.enter(CompletionRequest)
        if body.stream:
            return event_stream(self._gateway.stream_completion(body, person))
        return whole_answer(self._gateway.create_completion(body, person))
