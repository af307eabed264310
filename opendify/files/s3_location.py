"""What a `FILE_STORE_URL` that begins with `s3://` says."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,200}")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_ENDPOINT: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?/?")
_FORM: Final = "an object storage's URL is s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key of the object storage's own."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """Where objects lie; `prefix` is empty or ends with a slash.

    Without `endpoint` it is Amazon's; a `region` of None is for the environment to name.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None


def read_s3_location(url: str) -> S3Location:
    """The place that `url` names.

    Raises:
        ValueError: It names none; the message repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(_FORM) from None
    found = dict(options)
    prefix = unquote(parts.path).strip("/")
    endpoint, region = found.get("endpoint"), found.get("region")
    _require(parts.scheme.lower() == "s3" and not parts.fragment, _FORM)
    _require(_BUCKET.fullmatch(parts.netloc), "s3:// is followed by a bucket's name")
    _require(_PREFIX.fullmatch(prefix), "the prefix must be of plain letters, digits and slashes")
    _require(len(found) == len(options) and found.keys() <= {"endpoint", "region"}, _FORM)
    _require(endpoint is None or _ENDPOINT.fullmatch(endpoint), "endpoint must be http(s)://HOST")
    _require(region is None or _REGION.fullmatch(region), "region must be a name such as eu-central-1")
    return S3Location(
        bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "", endpoint=endpoint, region=region
    )


def _require(is_right: object, what: str) -> None:
    if not is_right:
        raise ValueError(what)
