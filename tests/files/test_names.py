"""Names of files that somebody else chose."""

import pytest

from opendify.files.names import mime_type_of, plain_file_name


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("notes.txt", "notes.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Übersicht.docx", "Übersicht.docx"),
        ("/", "file"),
        ("..", "file"),
        ("../..", "file"),
        (".", "file"),
        ("", "file"),
        ("a/", "a"),
        ("  spaced out.txt ", "spaced out.txt"),
        ("no\x00te\r\ns\x7f.txt", "notes.txt"),
        ("exe\u202etxt.scr", "exetxt.scr"),
        ("half \ud83d.png", "half .png"),
        ("报告 📄.pdf", "报告 📄.pdf"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("." + "x" * 300, "." + "x" * 254),
        ("y" * 300, "y" * 255),
    ],
)
def test_a_name_loses_its_path_and_what_does_harm(written: str, kept: str) -> None:
    assert plain_file_name(written) == kept


@pytest.mark.parametrize(
    ("said", "filename", "found"),
    [
        ("image/png", "x.pdf", "image/png"),
        ("Text/Plain; charset=utf-8", "x", "text/plain"),
        ("application/octet-stream", "x.pdf", "application/pdf"),
        (None, "x.JPG", "image/jpeg"),
        ("", "x", "application/octet-stream"),
        ("text/html\r\nX-Evil: 1", "x.txt", "text/plain"),
        ("nonsense", "x", "application/octet-stream"),
        ("a/" + "b" * 500, "x", "application/octet-stream"),
    ],
)
def test_a_type_is_what_was_said_or_what_the_name_tells(said: str | None, filename: str, found: str) -> None:
    assert mime_type_of(said, filename) == found
