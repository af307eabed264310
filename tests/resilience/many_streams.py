"""Hundreds of slow streams at once through the production script, each with words of its own.

`python -m tests.resilience.many_streams --streams 300 --seconds 60`
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.resilience.probing import Probes, probing
from tests.resilience.server import CHAT_PATH
from tests.resilience.simulated import ProductionStand, production_stand

MODEL = "demo-chat"
WORDS_A_SECOND = 2


@dataclass
class Report:
    """`most_at_once` had begun and not ended; `faults` counts what was wrong with answers."""

    asked: int
    probes: Probes
    whole: int = 0
    at_once: int = 0
    most_at_once: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A stream that has begun, and ends with the block."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            self.at_once -= 1

    def __str__(self) -> str:
        lines = [
            f"{self.whole} of {self.asked} streams whole and unmixed in {self.seconds:.1f} s",
            f"{self.most_at_once} at once",
            f"meanwhile {self.probes}",
        ]
        return "\n".join([*lines, *(f"{count} x {fault}" for fault, count in self.faults.most_common(10))])


def flow(stand: ProductionStand, *, streams: int, seconds: float) -> Report:
    """So many streams that begin together, each as long as `seconds`, while `/v1/models` is asked for."""
    with probing(stand.server.port, ["/v1/models"]) as probes:
        report = Report(streams, probes)
        began_at = time.monotonic()
        asyncio.run(_all_streams(stand, report, words=int(seconds * WORDS_A_SECOND)))
        report.seconds = time.monotonic() - began_at
    return report


async def _all_streams(stand: ProductionStand, report: Report, *, words: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(120)
    async with httpx.AsyncClient(base_url=stand.server.origin, limits=limits, timeout=timeout) as client:
        streams = (_stream(client, number, words, report) for number in range(report.asked))
        await asyncio.gather(*streams)


async def _stream(client: httpx.AsyncClient, number: int, words: int, report: Report) -> None:
    canary = f"canary-{number}-{secrets.token_hex(4)}"
    text = f"RATE:{WORDS_A_SECOND} " + " ".join(f"{canary}-{place}" for place in range(words))
    messages = [{"role": "user", "content": text}]
    body = {"model": MODEL, "stream": True, "messages": messages, "user": canary}
    try:
        async with client.stream("POST", CHAT_PATH, json=body) as answer:
            if answer.status_code != 200:
                report.faults[f"status {answer.status_code}"] += 1
                return
            with report.one_more():
                fault = _fault([line async for line in answer.aiter_lines()], text)
    except httpx.HTTPError as error:
        fault = type(error).__name__
    if fault:
        report.faults[fault] += 1
    else:
        report.whole += 1


def _fault(lines: list[str], text: str) -> str | None:
    """What is wrong with an answer that was to say `text`."""
    payloads = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    if not payloads or payloads[-1] != "[DONE]":
        return "no [DONE]"
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    if len({chunk["id"] for chunk in chunks}) != 1:
        return "chunks of another answer"
    return None if said == f"ECHO prior=0 images=0 :: {text}" else "words of another answer, or too few"


def main() -> int:
    """Run it and print what was seen; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each stream takes")
    told = parser.parse_args()
    with production_stand() as stand:
        report = flow(stand, streams=told.streams, seconds=told.seconds)
    sys.stdout.write(f"{report}\n")
    return int(report.whole != report.asked)


if __name__ == "__main__":
    sys.exit(main())
