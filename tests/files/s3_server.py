"""An object storage on loopback, and the access to it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from boto3.session import Session

from opendify.files.s3_location import Credentials

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

BUCKET: Final = "bucket"
CREDENTIALS: Final = Credentials(access_key="access", secret_key="secret")
_SERVE: Final = """
import json, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(json.dumps(server.get_host_and_port()), flush=True)
sys.stdin.read()  # Until whoever started it has ended.
"""


@dataclass(frozen=True)
class S3Server:
    """One bucket, and stores in it by number."""

    endpoint: str
    numbers: Iterator[int]

    def new_url(self) -> str:
        """The address of an empty store, which shares the bucket with others."""
        prefix = f"some/files-{next(self.numbers)}"
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}&region=us-east-1"

    @contextmanager
    def client(self) -> Iterator["S3Client"]:
        """What an operator's own tool sees."""
        client = Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS.access_key,
            aws_secret_access_key=CREDENTIALS.secret_key,
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serves until it is left, or until this process ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
    ) as process:
        assert process.stdin
        assert process.stdout
        host, port = json.loads(process.stdout.readline())
        server = S3Server(f"http://{host}:{port}", count(1))
        try:
            with server.client() as client:
                client.create_bucket(Bucket=BUCKET)
            yield server
        finally:
            process.stdin.close()
            process.terminate()
