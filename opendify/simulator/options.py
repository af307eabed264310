"""How a simulator behaves: version, speeds, limits."""

from __future__ import annotations

from dataclasses import dataclass

from opendify.simulator.versions import DEFAULT_VERSION


@dataclass(frozen=True)
class SimulatorOptions:
    """Speeds and limits of one simulated Dify.

    `message_time_resolution_seconds` is the grain of message times: two turns of
    a conversation within one grain get each other's memory mixed up, as Dify's
    do within one second. 0 means that no two turns ever share a grain.
    `files_url` is where links to files point, as Dify's setting of that name.
    """

    version: str = DEFAULT_VERSION
    token_delay_seconds: float = 0.02
    message_time_resolution_seconds: float = 1.0
    ping_seconds: float = 10.0
    naming_delay_seconds: float = 1.0
    silence_seconds: float = 300.0
    files_url: str = "http://127.0.0.1:5001"
    max_upload_bytes: int = 15 * 1024 * 1024
    max_image_bytes: int = 10 * 1024 * 1024
    max_audio_bytes: int = 50 * 1024 * 1024
    max_video_bytes: int = 100 * 1024 * 1024
