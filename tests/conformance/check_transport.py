"""Browsers, URLs and headers as clients really send them."""

import json

from tests.conformance.judge import Judge


def check_transport(judge: Judge) -> None:
    """A preflight without a key, other forms of the URL, other content types."""
    _check_preflight(judge)
    content = json.dumps(judge.chat_body()).encode()
    slashed = judge.ask("POST", "/chat/completions/", content=content)
    judge.check("a slash at the end is no redirect", slashed.status_code in (200, 404), slashed.text, "WARN")
    for content_type in ("application/json; charset=utf-8", "application/x-www-form-urlencoded", ""):
        response = judge.ask(
            "POST", "/chat/completions", content=content, headers={"Content-Type": content_type}
        )
        judge.check(f"Content-Type {content_type!r}", response.status_code == 200, response.text)


def _check_preflight(judge: Judge) -> None:
    headers = {
        "Origin": "https://chat.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang,x-stainless-os",
    }
    response = judge.ask("OPTIONS", "/chat/completions", headers=headers, key="")
    judge.check("preflight: status 200 or 204", response.status_code in (200, 204), response.text, "WARN")
    origin = response.headers.get("access-control-allow-origin")
    judge.check("preflight: an allowed origin", origin in ("*", headers["Origin"]), origin, "WARN")
    allowed = str(response.headers.get("access-control-allow-headers")).lower()
    judge.check("preflight: the SDK's headers", "x-stainless-lang" in allowed, allowed, "WARN")
