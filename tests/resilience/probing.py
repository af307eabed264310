"""Probes while a server is busy: a fresh connection each, one after the other, from a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

# A thread of the flooding test itself would measure how busy the test is.
_PROGRAM: Final = """
import http.client, json, sys, time
port, paths = int(sys.argv[1]), sys.argv[2:]
print("begun", flush=True)
end = []
import threading
threading.Thread(target=lambda: end.append(sys.stdin.read()), daemon=True).start()
seconds, statuses = [], []
while not end:
    for path in paths:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        except OSError as error:
            statuses.append(repr(error))
        finally:
            connection.close()
        seconds.append(time.monotonic() - began)
    time.sleep(0.01)
print(json.dumps({"seconds": seconds, "statuses": statuses}))
"""


@dataclass
class Probes:
    """How long each took, in seconds, and what it was answered; filled when the probing ends."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[object] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The time that this share of the probes did not exceed."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * share))]

    @property
    def failures(self) -> list[object]:
        return [status for status in self.statuses if status != 200]

    def __str__(self) -> str:
        p50, p99 = (self.percentile(share) * 1000 for share in (0.5, 0.99))
        worst = max(self.seconds) * 1000
        return f"{len(self.seconds)} probes: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


@contextmanager
def probing(port: int, paths: Sequence[str] = ("/v1/models", "/health/live")) -> Iterator[Probes]:
    """Probe all `paths` again and again while the block runs."""
    probes = Probes()
    command = [sys.executable, "-c", _PROGRAM, str(port), *paths]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        try:
            yield probes
        finally:
            told, _ = process.communicate("", timeout=30)
            found = json.loads(told)
            probes.seconds, probes.statuses = found["seconds"], found["statuses"]
