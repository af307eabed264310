"""Targets that a file names."""

from pathlib import Path

import pytest

from benchmarks.dialects import Door
from benchmarks.targets import Peer, Served, mock_dify, read_peers


def test_a_file_names_peers(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text('[other]\nurl = "http://127.0.0.1:3000/v1/chat/completions"\nmodel = "m"\n')

    peers = read_peers(file)

    assert list(peers) == ["other"]


@pytest.mark.parametrize(
    "text",
    ["[other]\n", '[other]\nurl = "u"\nport = 1\n', '[other]\nurl = "u"\ncopies = 0\n', "other = 1\n", "["],
)
def test_a_file_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(text)

    with pytest.raises(ValueError, match=r"."):
        read_peers(file)


def test_a_peer_is_the_process_that_serves_its_address(tmp_path: Path) -> None:
    with mock_dify(tmp_path) as mock:
        peer = Peer(f"http://127.0.0.1:{mock.door.port}/v1/chat/completions", key="k", model="m", copies=3)

        with peer.serve(mock, tmp_path) as served:
            assert isinstance(served, Served)
            assert served.pid == mock.pid
            assert served.door == Door(
                port=mock.door.port,
                path="/v1/chat/completions",
                key="k",
                model="m",
                dialect="openai",
                copies=3,
            )
