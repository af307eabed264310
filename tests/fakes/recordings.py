"""Recordings small enough to write down."""

import io
import wave


def wav(seconds: float = 0.5, *, rate: int = 8_000) -> bytes:
    """Silence."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(int(seconds * rate) * 2))
    return written.getvalue()
