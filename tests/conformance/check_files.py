"""`/files`: upload, list, look, delete."""

from tests.conformance.judge import Judge

_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
    b"Content-Type: application/jsonl\r\n\r\n{}\n\r\n--b--\r\n"
)


def check_files(judge: Judge) -> None:
    """One file's life, and an id that nobody has."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    file = judge.read_json("files upload", judge.ask("POST", "/files", content=_FORM, headers=headers))
    if file is None:
        return
    judge.check_schema("files upload", "OpenAIFile", file)
    path = f"/files/{file.get('id')}"
    listed = judge.read_json("files list", judge.ask("GET", "/files"))
    judge.check_schema("files list", "ListFilesResponse", listed)
    judge.check_schema("files get", "OpenAIFile", judge.read_json("files get", judge.ask("GET", path)))
    content = judge.ask("GET", f"{path}/content")
    judge.check("files content: the bytes come back", content.content == b"{}\n", content.content[:100])
    deleted = judge.read_json("files delete", judge.ask("DELETE", path))
    judge.check_schema("files delete", "DeleteFileResponse", deleted)
    judge.check_error("files get, deleted", judge.ask("GET", path), [404], [None, "file_not_found"], "id")
