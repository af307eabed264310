"""Every exception of httpx becomes one of ours, with advice that cannot repeat a paid run."""

import inspect

import httpx
import pytest

from opendify.dify.failures import dify_errors_mapped
from opendify.errors import DifyError

REQUEST = httpx.Request("POST", "http://dify.test/v1/chat-messages")

# Nothing was sent yet: DESIGN's "cannot connect", which a client may try again.
BEFORE_A_CONNECTION = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
TOO_LATE = {"ReadTimeout", "WriteTimeout", "TimeoutException"}


def _exceptions() -> list[type[Exception]]:
    found = [kind for kind in vars(httpx).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    return sorted(found, key=lambda kind: kind.__name__)


def _make(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        return httpx.HTTPStatusError("500", request=REQUEST, response=httpx.Response(500, request=REQUEST))
    if not inspect.signature(kind).parameters:
        return kind()
    return kind("http://10.0.0.7:5001 said no to app-secret")


def test_httpx_has_the_exceptions_that_this_test_believes_in() -> None:
    assert len(_exceptions()) > 20
    assert {kind.__name__ for kind in _exceptions()} >= BEFORE_A_CONNECTION | TOO_LATE


@pytest.mark.parametrize("kind", _exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_is_mapped(kind: type[Exception]) -> None:
    cause = _make(kind)

    with pytest.raises(DifyError) as caught, dify_errors_mapped():
        raise cause

    error = caught.value
    assert error.__cause__ is cause
    assert "10.0.0.7" not in error.message
    assert "app-secret" not in error.message
    if kind.__name__ in BEFORE_A_CONNECTION:
        assert (error.status, error.code) == (503, "upstream_unreachable")
        assert error.headers() == {"Retry-After": "5"}
    elif kind.__name__ in TOO_LATE:
        assert (error.status, error.code) == (504, "upstream_timeout")
        assert error.headers() == {"x-should-retry": "false"}
    else:
        assert (error.status, error.code) == (502, "upstream_error")
        assert error.headers() == {"x-should-retry": "false"}


def test_what_is_not_httpx_s_passes_as_it_is() -> None:
    fault = KeyError("a bug of ours")

    with pytest.raises(KeyError) as caught, dify_errors_mapped():
        raise fault

    assert caught.value is fault
