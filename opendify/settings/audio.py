"""Settings of speech, in both directions."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting


@dataclass(frozen=True, kw_only=True)
class AudioSettings:
    """What may be sent to be transcribed."""

    most_bytes: int = setting(
        "MAX_AUDIO_BYTES",
        read.whole_number(1_024, 10 * 1024**3),
        str(30 * 1024**2),
        "The largest recording that may be transcribed, in bytes; Dify itself takes 30 MB.",
    )
