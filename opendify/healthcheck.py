"""Asks a server whether it lives: `python -m opendify.healthcheck URL`, for images without `curl`.

Only the standard library, because a container runs it every few seconds.
"""

import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

TIMEOUT_SECONDS = 5


def find_fault(url: str) -> str | None:
    """Say what is wrong with the server at `url`, or nothing when it answers 2xx."""
    # A proxy meant for requests to Dify must not see requests to this machine.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return None
    except HTTPError as error:
        with error:
            return f"{url}: {error}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{url}: {error}"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m opendify.healthcheck URL")
    sys.exit(find_fault(sys.argv[1]))


if __name__ == "__main__":
    main()
