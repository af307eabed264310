"""A client's connection on which no wait lasts for ever."""

import contextlib
import errno
import math
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, Protocol, Self

from opendify.kernel import KernelSocket

# So long may one wait last before life is shown and the time is looked at.
_STEP_SECONDS: Final = 0.5
# The kernel would hold megabytes for a client that does not read; this is beside what is on its way to it.
_MOST_UNSENT_BYTES: Final = 65_536
LARGE_STEP_BYTES: Final = 4_194_304
"""A client gets the time for a body anew for each such part of a large one."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ClientSocket(KernelSocket):
    """Gives up on a client that takes nothing of what it is sent for `write_seconds`.

    Where Gunicorn asks it to block it blocks in steps, and calls `beat` between them.
    """

    write_seconds: float
    beat: Callable[[], object]

    @classmethod
    def around(
        cls, accepted: socket.socket, *, write_seconds: float, beat: Callable[[], object] = lambda: None
    ) -> Self:
        """`accepted` itself is of no use afterwards."""
        ours = cls(accepted.family, accepted.type, accepted.proto, accepted.detach())
        ours.write_seconds, ours.beat = write_seconds, beat
        if ours.family != socket.AF_UNIX:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT_BYTES)
        ours.setblocking(True)
        return ours

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(_STEP_SECONDS if flag else 0.0)

    def sendall(self, content: bytes, flags: int = 0, /) -> None:  # type: ignore[override] # Gunicorn sends bytes.
        """As in the base class, but each part must leave in time, not the whole.

        Raises:
            ConnectionResetError: The client does not read.
        """
        sent = self._send_some(content, flags)
        if sent == len(content):
            return
        rest = memoryview(content)[sent:]
        while rest:
            rest = rest[self._send_some(rest, flags) :]

    def _send_some(self, content: bytes | memoryview, flags: int) -> int:
        give_up_at = None
        while True:
            try:
                return self._send_in_a_step(content, flags)
            except TimeoutError:
                now = time.monotonic()
                give_up_at = give_up_at or now + self.write_seconds - _STEP_SECONDS
                if now >= give_up_at:
                    self._forget_what_waits()
                    raise ConnectionResetError(errno.ECONNRESET, "The client does not read") from None
                self.beat()

    def _send_in_a_step(self, content: bytes | memoryview, flags: int) -> int:
        return self.send(content, flags)

    def _forget_what_waits(self) -> None:
        # Otherwise the kernel would keep the unread bytes long after the socket is closed.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class PromptSocket(ClientSocket):
    """For who reads only what is there: it never blocks, but `sendall` waits where the client is slow.

    A socket with a timeout asks the kernel before each send whether there is room, which there nearly
    always is.
    """

    def sendall(self, content: bytes, flags: int = 0, /) -> None:  # type: ignore[override] # As the base's.
        """As in the base class; nearly always all leaves at once."""
        try:
            sent = self.send(content, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(content):
            super().sendall(content[sent:], flags)

    def setblocking(self, flag: bool, /) -> None:  # noqa: ARG002 - The base's signature.
        if self.gettimeout() != 0:
            self.settimeout(0.0)

    def _send_in_a_step(self, content: bytes | memoryview, flags: int) -> int:
        try:
            return self.send(content, flags)
        except BlockingIOError:
            room = select.poll()
            room.register(self, select.POLLOUT)
            if not room.poll(_STEP_SECONDS * 1_000):
                raise TimeoutError from None
        return 0


class Deadlines(Protocol):
    """Until when a worker waits for the rest of a request; see `BaseWorker.waits_until`."""

    def __call__(self, *, has_head: bool) -> float: ...


def _for_ever(*, has_head: bool) -> float:  # noqa: ARG001 - As `Deadlines` has it.
    return math.inf


class PacedSocket(ClientSocket):
    """Reads as if the client had left once it takes too long over its request, or the worker leaves."""

    waits_until: Deadlines = staticmethod(_for_ever)
    _read_until: float | None = None
    # Once the first byte of a head has come; then the whole head must be there.
    _head_seconds: float | None = None
    _has_head = False
    _body_seconds = 0.0
    _step_bytes = 0

    def expect_head(self, idle_seconds: float, head_seconds: float) -> None:
        """The next request must begin within the first and then have a whole head within the second."""
        self._read_until = time.monotonic() + idle_seconds
        self._head_seconds, self._has_head = head_seconds, False

    def expect_body(self, seconds: float) -> None:
        """The body must have come within so long, or the next part of a large one."""
        self._read_until, self._head_seconds, self._has_head = time.monotonic() + seconds, None, True
        self._body_seconds, self._step_bytes = seconds, 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        while self._read_until is not None:
            self.beat()
            if time.monotonic() >= min(self._read_until, self.waits_until(has_head=self._has_head)):
                return b""
            with contextlib.suppress(TimeoutError):
                received = super().recv(size, flags)
                self._note(len(received))
                return received
        return super().recv(size, flags)

    def _note(self, received_bytes: int) -> None:
        if self._head_seconds is not None:
            self._read_until, self._head_seconds = time.monotonic() + self._head_seconds, None
        if not self._has_head:
            return
        self._step_bytes += received_bytes
        if self._step_bytes >= LARGE_STEP_BYTES:
            self.expect_body(self._body_seconds)

    def shutdown(self, how: int, /) -> None:
        """Whoever reads on, to let the client have its answer, keeps the time itself."""
        self._read_until = None
        super().shutdown(how)
