"""The real server before a simulated Dify and a real store: each a process of its own."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opendify.simulator import DEMO_MODELS
from opendify.stores import ConversationStore, open_store
from tests.fakes.programs import GUNICORN, Program, environment_of
from tests.memory.chats import Chatter, SimulatedDify
from tests.stores.servers import Server, free_port, postgres_server, redis_server

STORES: Final = ("sqlite", "redis", "postgresql")
WORKERS: Final = 4
# Dify orders memory by whole seconds; both sides of a test take this much for one.
SHORT_RESOLUTION: Final = 0.02
OTHER_MODEL: Final = "other-chat"
CHATFLOW: Final = "demo-chatflow"
APP_KEYS: Final = {**DEMO_MODELS, OTHER_MODEL: "app-demo-chat-plain"}


@dataclass(frozen=True)
class Stand:
    """Everything that a chat passes through, and a way to ask each part of it.

    `store_server` is None where the store is a file.
    """

    kind: str
    origin: str
    store_url: str
    data_dir: Path
    dify: SimulatedDify
    server: Program
    store_server: Server | None

    def chatter(self, **fields: object) -> Chatter:
        """A client with a key of its own; `fields` are those of `Chatter`."""
        return Chatter(self.origin, **fields)  # type: ignore[arg-type] # Literals.

    @contextmanager
    def second_server(self, **environment: str) -> Iterator[str]:
        """Another server before the same Dify and on the same store, told otherwise: its origin."""
        with tempfile.TemporaryDirectory(prefix="opendify-") as folder:
            known = {"CONVERSATION_STORE_URL": self.store_url, "DATA_DIR": str(self.data_dir), **environment}
            program, origin = _server(Path(folder), self.dify.origin, known)
            try:
                program.start()
                yield origin
            finally:
                program.stop()

    def is_free(self, conversation_id: str) -> bool:
        """Whether a conversation is known, and no turn holds it."""
        with self.store() as store:
            for known in store.recent(100):
                if known.conversation_id == conversation_id:
                    now = time.time()
                    held = store.claim(known.id, claim="looking", now=now, until=now + 5)
                    store.release(known.id, claim="looking")
                    return held is not None
        return False

    @contextmanager
    def store(self) -> Iterator[ConversationStore]:
        """The store, as a process of its own would have it."""
        opened = open_store(self.store_url, self.data_dir)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def opened_stand(
    kind: str,
    *,
    resolution: float = SHORT_RESOLUTION,
    spacing: float | None = None,
    version: str = "1.12.1",
) -> Iterator[Stand]:
    """Start all of it; everything ends with the block.

    Args:
        kind: One of `STORES`.
        resolution: Seconds within which Dify mixes up two turns of a conversation.
        spacing: What the server takes for that, if it is told something else.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opendify-")))
        data_dir = folder / "data"
        store_server = None
        if kind != "sqlite":
            starter = {"redis": redis_server, "postgresql": postgres_server}[kind]
            store_server = stack.enter_context(starter())
        store_url = store_server.url if store_server else "sqlite:///data/conversations.db"
        dify_program, dify_origin = _dify(folder, resolution, version)
        environment = {
            "DATA_DIR": str(data_dir),
            "CONVERSATION_STORE_URL": store_url,
            "DIFY_MESSAGE_TIME_RESOLUTION": str(resolution if spacing is None else spacing),
        }
        server, origin = _server(folder, dify_origin, environment)
        for program in (dify_program, server):
            stack.callback(program.stop)
            program.start()
        yield Stand(kind, origin, store_url, data_dir, SimulatedDify(dify_origin), server, store_server)


def _dify(folder: Path, resolution: float, version: str) -> tuple[Program, str]:
    port = free_port()
    delays = ["--token-delay", "0", "--naming-delay", "0"]
    command = [sys.executable, "-c", "from opendify.cli import main; main()", "simulate", "--port", str(port)]
    command += [*delays, "--message-time-resolution", str(resolution), "--version", version]
    origin = f"http://127.0.0.1:{port}"
    return Program(command, environment_of({}), f"{origin}/_simulator/counts", folder / "dify.log"), origin


def _server(folder: Path, dify_origin: str, told: Mapping[str, str]) -> tuple[Program, str]:
    """As `start_production.sh` starts it; its log is in `folder`."""
    port = free_port()
    environment = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "ENVIRONMENT": "production",
        "AUTH_MODE": "open",
        "DIFY_API_BASE": f"{dify_origin}/v1",
        "MODEL_CONFIG": json.dumps(APP_KEYS),
        "GUNICORN_WORKERS": str(WORKERS),
        **told,
    }
    origin = f"http://127.0.0.1:{port}"
    program = Program(GUNICORN, environment_of(environment), f"{origin}/health/live", folder / "server.log")
    return program, origin
