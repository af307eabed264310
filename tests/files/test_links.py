"""Links that open one file, for a while."""

from dataclasses import asdict, replace

import pytest

from opendify.files.base import StoredFile
from opendify.files.links import FileLinkSigner
from tests.files.keeping import NOW, new_file

FILE = StoredFile(**asdict(new_file()), bytes=1, sha256="")


def signer(secret: str = "s" * 40, *, later: float = 0) -> FileLinkSigner:
    return FileLinkSigner("https://ai.example", lambda: secret, ttl_seconds=60, now=lambda: NOW + later)


def token_of(url: str) -> str:
    path, _, token = url.partition("?token=")
    assert path == f"https://ai.example/v1/files/{FILE.id}/content"
    return token


def test_a_link_opens_its_owners_file_until_it_ends() -> None:
    token = token_of(signer().url_of(FILE))

    assert signer().owner_for(FILE.id, token) == "alice"
    assert signer(later=59).owner_for(FILE.id, token) == "alice"
    assert signer(later=60).owner_for(FILE.id, token) is None


def test_it_opens_nothing_else() -> None:
    token = token_of(signer().url_of(FILE))

    assert signer().owner_for(new_file().id, token) is None
    assert signer("another").owner_for(FILE.id, token) is None


@pytest.mark.parametrize("token", ["", ".", "x", "W10.x", "\x00", "é", "a" * 10_000])
def test_what_was_not_signed_opens_nothing(token: str) -> None:
    assert signer().owner_for(FILE.id, token) is None


def test_a_changed_link_opens_nothing() -> None:
    token = token_of(signer().url_of(FILE))
    bob = token_of(signer("other").url_of(replace(FILE, owner="bob")))

    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        # The last character of the signature has bits that do not count.
        assert at == len(token) - 1 or signer().owner_for(FILE.id, changed) is None
    assert signer().owner_for(FILE.id, bob.rpartition(".")[0] + "." + token.rpartition(".")[2]) is None
