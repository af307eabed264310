"""Mixed load for a long time; the server's memory, descriptors and threads must stay as they are.

`python -m tests.resilience.soak --minutes 30`
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import psutil

from tests.resilience.server import CHAT_PATH
from tests.resilience.simulated import ProductionStand, production_stand

MODEL = "demo-chat"
CLIENTS = 24
_PAUSE_SECONDS = (0.0, 0.3)
_LOOK_SECONDS = 0.5
_REST_SECONDS = 20.0
# So large that a text which is kept shows, were it one a request.
_PADDING = "x" * 16_000
# The load draws how many are at work at once, so that later samples may see a few more.
_MORE_DESCRIPTORS = 16
_MORE_THREADS = 24
# Caches and the allocator's arenas grow ever more slowly: 12 MB in each worker's first thousand requests,
# less than 1 kB a request in the next ten thousand, nothing after thirty thousand.
_MORE_MEMORY_MB = 12.0
_MORE_MEMORY_KB_A_REQUEST = 1.0


@dataclass(frozen=True)
class Sample:
    """What the master and all its workers use together."""

    at: float
    memory_mb: float
    descriptors: int
    threads: int


def look(stand: ProductionStand) -> Sample:
    """Memory is counted once where processes share it (PSS)."""
    memory = descriptors = threads = 0
    for process in _family(stand.server.program.pid):
        with suppress(psutil.NoSuchProcess):
            memory += process.memory_full_info().pss
            descriptors += process.num_fds()
            threads += process.num_threads()
    return Sample(time.monotonic(), memory / 1e6, descriptors, threads)


def _family(pid: int) -> list[psutil.Process]:
    master = psutil.Process(pid)
    return [master, *master.children(recursive=True)]


@dataclass
class Load:
    """What the clients did, and every answer that was not the one to expect."""

    requests: int = 0
    done: Counter[str] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)

    async def count(self, _request: httpx.Request) -> None:
        self.requests += 1

    def expect(self, what: str, seen: object, *wanted: object) -> None:
        if seen not in wanted:
            self.surprises[f"{what}: {seen!r}"] += 1


class Clients:
    """People at work, each with a connection of their own now and then."""

    def __init__(self, client: httpx.AsyncClient, load: Load, seed: int) -> None:
        self._client = client
        self._load = load
        self._random = random.Random(seed)
        self._actions: tuple[tuple[Callable[[str], Awaitable[None]], int], ...] = (
            (self._stream, 5),
            (self._whole, 3),
            (self._second_turn, 3),
            (self._leave, 3),
            (self._fail, 3),
            (self._list, 1),
        )

    async def work(self, number: int, until: float) -> None:
        """One person, from one request to the next."""
        actions, weights = zip(*self._actions, strict=True)
        turns = 0
        while time.monotonic() < until:
            (action,) = self._random.choices(actions, weights)
            turns += 1
            try:
                await action(f"person-{number}-{turns}")
            except httpx.HTTPError as error:
                self._load.surprises[f"{action.__name__}: {type(error).__name__}"] += 1
            self._load.done[action.__name__.removeprefix("_")] += 1
            await asyncio.sleep(self._random.uniform(*_PAUSE_SECONDS))

    async def _ask(self, user: str, *texts: str) -> tuple[int, str]:
        roles = ("user", "assistant")
        messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
        answer = await self._client.post(CHAT_PATH, json={"model": MODEL, "messages": messages, "user": user})
        if answer.status_code != 200:
            return answer.status_code, ""
        return 200, answer.json()["choices"][0]["message"]["content"]

    async def _whole(self, user: str) -> None:
        status, said = await self._ask(user, _hello(user))
        self._load.expect("whole", status, 200)
        self._load.expect("whole is unmixed", said == f"ECHO prior=0 images=0 :: {_hello(user)}", True)

    async def _second_turn(self, user: str) -> None:
        status, first = await self._ask(user, _hello(user))
        self._load.expect("first turn", status, 200)
        status, second = await self._ask(user, _hello(user), first, "And then?")
        self._load.expect("second turn", status, 200)
        # After Dify forgot, the earlier turns stand in front of the question.
        remembers = second == "ECHO prior=2 images=0 :: And then?" or user in second
        self._load.expect("second turn remembers", remembers, True)

    async def _stream(self, user: str) -> None:
        words = f"RATE:40 LONG:{self._random.randint(5, 60)} {_hello(user)}"
        lines = await self._read_stream(user, words)
        self._load.expect("stream ends", lines[-1:], ["data: [DONE]"])

    async def _leave(self, user: str) -> None:
        words = self._random.choice(("RATE:5 LONG:100", "SLOW:3 later", "GAP:3 a b c d"))
        await self._read_stream(user, words, most_seconds=self._random.uniform(0.05, 0.6))

    async def _fail(self, user: str) -> None:
        word = self._random.choice(("FAIL500", "FAILMID", "DROP:2", "HTML", "EOF:1"))
        status, _ = await self._ask(user, f"{word} {_hello(user)}")
        self._load.expect("failure", status, 502)
        nobody = await self._client.post(CHAT_PATH, json={"model": "nobody", "messages": []})
        self._load.expect("unknown model", nobody.status_code, 400, 404)

    async def _list(self, user: str) -> None:
        self._load.expect("list", (await self._client.get("/v1/models")).status_code, 200)

    async def _read_stream(self, user: str, text: str, *, most_seconds: float = 60.0) -> list[str]:
        body = {"model": MODEL, "stream": True, "user": user, "messages": [{"role": "user", "content": text}]}
        lines: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                async with self._client.stream("POST", CHAT_PATH, json=body) as answer:
                    self._load.expect("stream", answer.status_code, 200)
                    async for line in answer.aiter_lines():
                        lines += [line] if line else []
        return lines


def _hello(user: str) -> str:
    return f"Hello from {user} {_PADDING} {user}"


@dataclass
class Soak:
    """`samples` and `requests` are those after the warm-up; `rests` were taken without load, around them."""

    load: Load
    requests: int = 0
    samples: list[Sample] = field(default_factory=list)
    rests: list[Sample] = field(default_factory=list)

    def growth(self, what: str) -> float:
        """By how much the fitted line rises from the first sample to the last."""
        times = [sample.at for sample in self.samples]
        values = [float(getattr(sample, what)) for sample in self.samples]
        return statistics.linear_regression(times, values).slope * (times[-1] - times[0])

    def faults(self) -> list[str]:
        """Whatever did not stay as it was; empty is good."""
        allowed = {
            "memory_mb": _MORE_MEMORY_MB + self.requests * _MORE_MEMORY_KB_A_REQUEST / 1000,
            "descriptors": _MORE_DESCRIPTORS,
            "threads": _MORE_THREADS,
        }
        faults = [
            f"{what} grew by {self.growth(what):.1f}, {most:.1f} are allowed"
            for what, most in allowed.items()
            if self.growth(what) > most
        ]
        more = self.rests[-1].descriptors - self.rests[0].descriptors
        if more > _MORE_DESCRIPTORS:
            faults.append(f"{more} descriptors were left open")
        return faults + [f"{count} x {what}" for what, count in self.load.surprises.most_common(10)]

    def table(self, rows: int = 12) -> str:
        """Some of the samples, the fitted growth, and what was done."""
        step = max(1, len(self.samples) // rows)
        began_at = self.samples[0].at
        lines = [f"{'seconds':>8} {'PSS MB':>8} {'descriptors':>12} {'threads':>8}"]
        lines += [
            f"{each.at - began_at:8.0f} {each.memory_mb:8.1f} {each.descriptors:12} {each.threads:8}"
            for each in self.samples[::step]
        ]
        hours = (self.samples[-1].at - began_at) / 3600
        for what in ("memory_mb", "descriptors", "threads"):
            rise = self.growth(what)
            lines.append(f"{what}: {rise:+.1f} by the fitted line, {rise / hours:+.1f} an hour")
        each = self.growth("memory_mb") * 1000 / self.requests
        lines.append(f"memory: {each:+.2f} kB for each of {self.requests} requests")
        rests = ", ".join(f"{each.memory_mb:.1f} MB {each.descriptors} {each.threads}" for each in self.rests)
        done = ", ".join(f"{count} x {what}" for what, count in sorted(self.load.done.items()))
        return "\n".join([*lines, f"at rest before and after: {rests}", f"done: {done}"])


def soak(stand: ProductionStand, *, seconds: float, warm_up_seconds: float, seed: int = 1) -> Soak:
    """Load the server for `warm_up_seconds`, let it rest, and then for `seconds` look at what it uses."""
    load = Load()
    result = Soak(load)
    for part, duration in enumerate((warm_up_seconds, seconds)):
        before = load.requests
        result.samples = asyncio.run(_work(stand, load, duration, seed + part))
        result.requests = load.requests - before
        result.rests.append(_rest(stand))
    return result


async def _work(stand: ProductionStand, load: Load, seconds: float, seed: int) -> list[Sample]:
    until = time.monotonic() + seconds
    samples: list[Sample] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS // 2)
    hooks = {"request": [load.count]}
    async with httpx.AsyncClient(
        base_url=stand.server.origin, limits=limits, timeout=60, event_hooks=hooks
    ) as client:
        clients = Clients(client, load, seed)
        people = [asyncio.create_task(clients.work(number, until)) for number in range(CLIENTS)]
        for number in _counting(until):
            await asyncio.sleep(_LOOK_SECONDS)
            samples.append(await asyncio.to_thread(look, stand))
            if number % 120 == 119:
                await asyncio.to_thread(stand.dify.forget)
        await asyncio.gather(*people)
    return samples


def _counting(until: float) -> Iterator[int]:
    number = 0
    while time.monotonic() < until:
        yield number
        number += 1


def _rest(stand: ProductionStand) -> Sample:
    """A sample when nothing goes on any more: when descriptors no longer become fewer."""
    samples: Sequence[Sample] = [look(stand)]
    until = time.monotonic() + _REST_SECONDS
    while time.monotonic() < until:
        time.sleep(1)
        samples = [*samples[-2:], look(stand)]
        if len(samples) == 3 and len({sample.descriptors for sample in samples}) == 1:
            break
    return samples[-1]


def main() -> int:
    """Run it and print what was seen; 1 where something did not stay as it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    told = parser.parse_args()
    seconds = told.minutes * 60
    with production_stand() as stand:
        result = soak(stand, seconds=seconds * 2 / 3, warm_up_seconds=seconds / 3)
    sys.stdout.write("\n".join([result.table(), *result.faults()]) + "\n")
    return int(bool(result.faults()))


if __name__ == "__main__":
    sys.exit(main())
