"""Variables that nobody reads, and that somebody may have meant for settings."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from opendify.configuration.readers import shown
from opendify.settings import SETTINGS

# Read by Gunicorn, and by the start scripts.
_OTHERS_OURS: Final = ("GUNICORN_CMD_ARGS", "OPENDIFY_ENVIRONMENT_READY")
# An `.env` file is also read by Compose, and its variables by Python's libraries and OpenTelemetry's SDK.
_OF_OTHERS: Final = re.compile(
    r"(?i)(https?|all|no|ftp)_proxy|ssl_cert_(file|dir)|tz|lang|lc_.+|(compose|docker|python|pip|uv)_?.*|otel_.+"
)
# Elsewhere many a variable is somebody else's.
_OUR_PREFIXES: Final = ("GUNICORN_", "DIFY_", "MODEL_CONFIG", "CONVERSATION_", "OPENDIFY_")
# Made from the names of services, such as `dify-api`.
_OF_KUBERNETES: Final = re.compile(r".+_(SERVICE|PORT)(_.+)?")
_LIKENESS: Final = 0.7


def unknown_names(in_file: Mapping[str, str | None], environ: Mapping[str, str]) -> list[str]:
    """A line for each variable of `.env` that is no setting, and each of `environ` that is nearly one."""
    known = (*(name for doc in SETTINGS for name in doc.variables), *_OTHERS_OURS)
    return [*_in_file(in_file, known), *_in_environment(environ.keys() - in_file.keys(), known)]


def _in_file(in_file: Mapping[str, str | None], known: tuple[str, ...]) -> Iterator[str]:
    for name, text in in_file.items():
        if text is not None and name not in known and not _OF_OTHERS.fullmatch(name):
            yield f".env: {shown(name)} is no setting{_suggestion(name, known)}"


def _in_environment(names: set[str], known: tuple[str, ...]) -> Iterator[str]:
    for name in sorted(names - set(known)):
        is_ours = name.startswith(_OUR_PREFIXES) and not _OF_KUBERNETES.fullmatch(name)
        if is_ours and (suggestion := _suggestion(name, known)):
            yield f"{shown(name)} is no setting{suggestion}"


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_LIKENESS)
    return f"; did you mean {nearest[0]}?" if nearest else ""
