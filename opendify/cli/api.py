"""OpenAI's API as the terminal uses it: the models, and answers whose pieces come as they arrive."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

_TIMEOUT = httpx.Timeout(300.0, connect=5.0)


class ApiFailure(Exception):
    """The service refused, could not be reached, or broke off; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Piece:
    """More of an answer, or of the thoughts before it."""

    text: str = ""
    thoughts: str = ""


class Api:
    """A service at `url`, which ends in `/v1`; to be closed."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url, self.key = url.rstrip("/"), key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def models(self) -> Sequence[str]:
        """The names that may be asked for, in the table's order.

        Raises:
            ApiFailure: Nobody answers, or something else than models.
        """
        try:
            listed = _answer(self._client.get(f"{self.url}/models")).json()
            return [str(model["id"]) for model in listed["data"]]
        except httpx.HTTPError as fault:
            raise ApiFailure(f"{self.url} cannot be reached: {fault}") from None
        except (ValueError, KeyError, TypeError):
            raise ApiFailure(f"{self.url} lists no models: is it OpenDify?") from None

    def stream(self, model: str, messages: Sequence[Mapping[str, object]]) -> Iterator[Piece]:
        """The answer to the last of `messages`.

        Raises:
            ApiFailure: At any point; what came before it is no whole answer.
        """
        body = {"model": model, "messages": list(messages), "stream": True}
        try:
            with self._client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                yield from _pieces(_answer(response).iter_lines())
        except httpx.HTTPError as fault:
            raise ApiFailure(f"{self.url} cannot be reached: {fault}") from None


def _answer(response: httpx.Response) -> httpx.Response:
    if response.status_code != 200:
        raise ApiFailure(_message(response.read()) or f"HTTP {response.status_code}")
    return response


def _pieces(lines: Iterator[str]) -> Iterator[Piece]:
    for line in lines:
        if line == "data: [DONE]":
            return
        if line.startswith("data: "):
            event = json.loads(line[6:])
            if failure := event.get("error"):
                raise ApiFailure(str(failure.get("message")))
            for choice in event.get("choices", ()):
                delta = choice.get("delta", {})
                yield Piece(delta.get("content") or "", delta.get("reasoning_content") or "")
    raise ApiFailure("the answer broke off")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
