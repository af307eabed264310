"""The few things that are asked of an object storage, through boto3.

That is imported at first use: it takes long, and tries a socket.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypedDict

from opendify.files.base import FileStoreUnavailable
from opendify.files.s3_location import Credentials, S3Location

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.exceptions import ClientError
    from types_boto3_s3.client import S3Client

_PART_BYTES: Final = 16 * 1024**2
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_MOST_CONNECTIONS: Final = 32
# A session makes one client at a time.
_CONNECTING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Listed:
    """An object; its key is without the prefix, its time Unix time."""

    key: str
    bytes: int
    modified_at: float


class Body(Protocol):
    """An object's bytes as they come, to be closed."""

    def read(self, amt: int | None = None) -> bytes:
        """The next bytes, at most so many, or all."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class _Place(TypedDict):
    Bucket: str
    Key: str


class Bucket:
    """A bucket below a prefix; every method may raise what boto3 does. Connects at first use."""

    def __init__(self, location: S3Location, credentials: Credentials | None) -> None:
        self._location = location
        self._credentials = credentials
        self._client: S3Client | None = None

    def upload(self, path: Path, key: str, mime_type: str) -> None:
        """Store a file, one part after the other from the disk."""
        from boto3.s3.transfer import TransferConfig

        self._connected().upload_file(
            str(path),
            self._location.bucket,
            self._location.prefix + key,
            ExtraArgs={"ContentType": mime_type},
            Config=TransferConfig(
                multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, use_threads=False
            ),
        )

    def put(self, key: str, body: bytes) -> None:
        """Store a small object of JSON."""
        self._connected().put_object(**self._at(key), Body=body, ContentType="application/json")

    def get(self, key: str) -> Body | None:
        """An object's bytes; None where it is not there."""
        from botocore.exceptions import ClientError

        try:
            return self._connected().get_object(**self._at(key))["Body"]
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise

    def delete(self, key: str) -> None:
        """Delete an object; it need not be there."""
        self._connected().delete_object(**self._at(key))

    def listing(self, below: str) -> Iterator[Listed]:
        """All objects whose keys begin so, in the order of their keys."""
        prefix = self._location.prefix
        pages = self._connected().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._location.bucket, Prefix=prefix + below):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(prefix)
                yield Listed(key, entry["Size"], entry["LastModified"].timestamp())

    def abort_uploads(self, *, begun_before: float) -> None:
        """Delete the parts of uploads that crashes left behind."""
        place = self._location
        pages = self._connected().get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"].timestamp() < begun_before:
                    self._connected().abort_multipart_upload(
                        Bucket=place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        with _CONNECTING:
            client, self._client = self._client, None
        if client:
            client.close()

    def _at(self, key: str) -> _Place:
        return {"Bucket": self._location.bucket, "Key": self._location.prefix + key}

    def _connected(self) -> "S3Client":
        with _CONNECTING:
            if self._client is None:
                self._client = _connect(self._location, self._credentials)
            return self._client


@contextmanager
def failures_mapped() -> Iterator[None]:
    """Failures of a bucket, and of this machine's disk, as those of the store."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise FileStoreUnavailable(f"{error.operation_name}: {_code(error)}") from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise FileStoreUnavailable(type(error).__name__) from error


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@cache
def _session() -> "Session":
    from boto3.session import Session

    # It reads the description of the protocol, for all clients.
    return Session()


def _connect(location: S3Location, credentials: Credentials | None) -> "S3Client":
    from botocore.config import Config

    is_amazon = location.endpoint is None
    # Others than Amazon may know neither buckets as host names nor its newer checksums.
    return _session().client(
        "s3",
        endpoint_url=location.endpoint,
        region_name=location.region or (None if is_amazon else "us-east-1"),
        aws_access_key_id=credentials.access_key if credentials else None,
        aws_secret_access_key=credentials.secret_key if credentials else None,
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=_MOST_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 3},
            request_checksum_calculation="when_supported" if is_amazon else "when_required",
            response_checksum_validation="when_supported" if is_amazon else "when_required",
            s3={"addressing_style": "auto" if is_amazon else "path"},
        ),
    )
