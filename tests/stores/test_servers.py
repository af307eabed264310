"""Whether a missing server goes unnoticed."""

import pytest

from tests.stores.servers import find_program


def test_a_missing_program_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        find_program("no-such-server")


def test_a_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        find_program("no-such-server")
