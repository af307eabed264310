"""How long a recording lasts, as far as its file tells."""

import logging
from typing import IO, BinaryIO, cast

logger = logging.getLogger(__name__)


def recording_seconds(recording: IO[bytes]) -> float:
    """Seconds; 0 where the file does not tell, as WebM does not."""
    # Few ask for it.
    from tinytag import TinyTag

    recording.seek(0)
    try:
        # The library asks for a file of `open`, and uses nothing that other files have not.
        found = TinyTag.get(file_obj=cast("BinaryIO", recording), tags=False)
        return round(found.duration or 0.0, 3)
    except Exception as error:  # noqa: BLE001 - Whatever a parser of strangers' files stumbles over.
        logger.info("a recording's duration is not known", extra={"reason": type(error).__name__})
        return 0.0
