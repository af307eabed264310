"""httpx's exceptions → ours, at the one border where both meet."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from opendify.errors import DifyError, DifyTimeout, DifyUnreachable


@contextmanager
def dify_errors_mapped() -> Iterator[None]:
    """Translate what a connection says; the cause is kept.

    Only what happened before a connection stood can be retried: afterwards Dify
    may have begun a run.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise DifyUnreachable("The app behind this model cannot be reached at the moment") from error
    except httpx.TimeoutException as error:
        raise DifyTimeout("Dify did not answer in time") from error
    except httpx.UnsupportedProtocol as error:
        raise DifyUnreachable("The address of the app behind this model cannot be used") from error
    except httpx.InvalidURL as error:
        raise DifyError("The address of the app behind this model cannot be used") from error
    except (httpx.HTTPError, httpx.StreamError, httpx.CookieConflict) as error:
        raise DifyError("Dify broke off the connection before the answer was whole") from error
