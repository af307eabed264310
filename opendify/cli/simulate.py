"""`opendify simulate`: a Dify to develop and demonstrate against."""

from __future__ import annotations

import signal
import threading

import click

from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.simulator.server import make_simulator_server
from opendify.simulator.versions import DEFAULT_VERSION, KNOWN_VERSIONS

_WORDS = """\b
Words in a message, in capitals, that make it answer otherwise:
  THINK REASON         a model's thinking, within and beside its text
  CITE                 cited documents
  TOOL:NAME FILE       an agent calls a tool; a picture is made
  PAUSE                a person is asked (--version 1.14.2 and later)
  REPLACE EMPTY        output is moderated; nothing is answered
  SLOW:20 GAP:20       seconds of silence, before the answer and within
  LONG:500 RATE:50     words, and words a second
  FAIL500 FAILMID      the model's provider fails, at once or half way
  STATUS:503 HANG      Dify fails, or says nothing
  DROP:3 EOF:3         the connection breaks or ends after so many events
"""


@click.command(epilog=_WORDS)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5001, show_default=True, help="0 takes a free port.")
@click.option("--version", default=DEFAULT_VERSION, show_default=True, type=click.Choice(KNOWN_VERSIONS))
@click.option("--token-delay", default=0.02, show_default=True, help="Seconds between two tokens.")
@click.option("--naming-delay", default=1.0, show_default=True, help="Seconds a new conversation waits.")
@click.option("--ping-seconds", default=10.0, show_default=True, help="Seconds between two pings.")
@click.option("--silence-seconds", default=300.0, show_default=True, help="Length of a hanging stream.")
@click.option(
    "--message-time-resolution",
    default=1.0,
    show_default=True,
    help="Seconds within which two turns of one conversation mix up its memory; 0 never does.",
)
@click.option("--files-url", default=None, help="Where links to files point.  [default: host and port]")
def simulate(
    host: str,
    port: int,
    version: str,
    token_delay: float,
    naming_delay: float,
    ping_seconds: float,
    silence_seconds: float,
    message_time_resolution: float,
    files_url: str | None,
) -> None:
    """Serve a simulated Dify until SIGTERM or SIGINT."""
    options = SimulatorOptions(
        version=version,
        token_delay_seconds=token_delay,
        naming_delay_seconds=naming_delay,
        ping_seconds=ping_seconds,
        silence_seconds=silence_seconds,
        message_time_resolution_seconds=message_time_resolution,
        files_url=files_url or f"http://{host}:{port}",
    )
    server = make_simulator_server(create_simulator(options), host, port)
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        # `shutdown` waits for the loop that this very thread runs, so another thread must call it.
        signal.signal(stop_signal, lambda *_: threading.Thread(target=server.shutdown).start())
    keys = ", ".join(DEMO_MODELS.values())
    click.echo(f"Simulated Dify {version} at http://{host}:{server.server_port}/v1 with keys {keys}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
