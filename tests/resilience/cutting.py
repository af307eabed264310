"""A line to the server that breaks when a test says so."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Line:
    """One connection. While `swallows` is set, nothing that the server says arrives.

    `server_side` is the port from which the server is called.
    """

    client: socket.socket
    server: socket.socket
    swallows: bool = False
    swallowed: bytes = b""

    @property
    def server_side(self) -> int:
        port: int = self.server.getsockname()[1]
        return port

    def cut(self, *, at_both_ends: bool) -> None:
        """Break off; where only the client learns of it, the server's side stays open."""
        _shut(self.client)
        if at_both_ends:
            _shut(self.server)

    def carry(self) -> None:
        """Until either end closes."""
        threading.Thread(target=self._carry_answers, daemon=True).start()
        with suppress(OSError):
            while piece := self.client.recv(65_536):
                self.server.sendall(piece)

    def _carry_answers(self) -> None:
        with suppress(OSError):
            while piece := self.server.recv(65_536):
                if self.swallows:
                    self.swallowed += piece
                else:
                    self.client.sendall(piece)
        _shut(self.client)


@dataclass
class CuttingProxy:
    """`lines` are the connections that were made, oldest first; the first ones swallow, if told so."""

    port: int
    swallowing: int = 0
    lines: list[Line] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def cutting_proxy(server_port: int, *, swallowing: int = 0) -> Iterator[CuttingProxy]:
    """A line to the server on a port of its own; the first `swallowing` connections swallow."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = CuttingProxy(listening.getsockname()[1], swallowing)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    server = socket.create_connection(("127.0.0.1", server_port))
                    line = Line(client, server, swallows=len(proxy.lines) < proxy.swallowing)
                    proxy.lines.append(line)
                    threading.Thread(target=line.carry, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield proxy
        finally:
            _shut(listening)
            for line in proxy.lines:
                line.cut(at_both_ends=True)
                line.client.close()
                line.server.close()


def _shut(connection: socket.socket) -> None:
    """Closing alone would not wake up the thread that reads."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
