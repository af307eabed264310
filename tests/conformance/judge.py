"""What all checks share: the server under test, OpenAI's schemas, and the findings."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from jsonschema import Draft202012Validator

Level = Literal["PASS", "WARN", "FAIL"]
Shape = dict[str, Any]  # JSON as it comes; the checks' whole job is to look into it.

INVALID_REQUEST_CODES: Final = (
    None,
    "array_above_max_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_array",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "unsupported_parameter",
    "unsupported_value",
)
_SCHEMAS: Final = json.loads((Path(__file__).parent / "openai-schemas.json").read_text("utf-8"))
_MOST_FAULTS_SHOWN = 4
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A running server. `base_url` has the API's `/v1`; a `bad_key` is one that it must refuse."""

    base_url: str
    model: str
    api_key: str | None = None
    bad_key: str | None = None
    prompt: str = "Count from one to twenty in words."
    user: str = "conformance"
    timeout_seconds: float = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; `detail` is empty where it passed."""

    level: Level
    title: str
    detail: str

    def __str__(self) -> str:
        return f"{self.level} {self.title}" + (f": {self.detail}" if self.detail else "")


@dataclass
class Judge:
    """Asks the target, and notes what it finds."""

    target: Target
    http: httpx.Client
    report: Callable[[Finding], None] = lambda _: None
    findings: list[Finding] = field(default_factory=list)

    def check(self, title: str, ok: object, detail: object = "", level: Level = "FAIL") -> bool:
        """Note whether `ok` holds; `level` is what it is otherwise."""
        finding = Finding("PASS" if ok else level, title, "" if ok else shown(detail))
        self.findings.append(finding)
        self.report(finding)
        return bool(ok)

    def check_schema(self, title: str, schema: str, value: object) -> bool:
        """Note whether `value` is what OpenAI's `schema` describes."""
        faults = schema_faults(schema, value)
        return self.check(f"{title}: {schema}", not faults, "; ".join(faults[:_MOST_FAULTS_SHOWN]))

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One call; `key` is sent in place of the target's own, none at all if it is empty."""
        key = (self.target.api_key or "") if key is None else key
        all_headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if key:
            all_headers["Authorization"] = f"Bearer {key}"
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
        return self.http.request(
            method, self.target.base_url + path, content=content, headers=all_headers | dict(headers or {})
        )

    def chat_body(self, **parameters: object) -> Shape:
        """A plain chat request, changed; `...` takes a parameter away."""
        body = {
            "model": self.target.model,
            "messages": [{"role": "user", "content": self.target.prompt}],
            "user": self.target.user,
        }
        return {name: value for name, value in (body | parameters).items() if value is not ...}

    def chat(self, **parameters: object) -> httpx.Response:
        """Ask for a chat completion."""
        return self.ask("POST", "/chat/completions", body=self.chat_body(**parameters))

    def read_json(self, title: str, response: httpx.Response) -> Shape | None:
        """The body of a good answer; None, and noted, where it is no such thing."""
        if not self.check(f"{title}: status 200", response.status_code == 200, _status_line(response)):
            return None
        self.check(f"{title}: Content-Type is JSON", _is_json(response), response.headers.get("content-type"))
        body = _json_object(response)
        self.check(f"{title}: the body is a JSON object", body is not None, response.text)
        return body

    def check_error(
        self,
        title: str,
        response: httpx.Response,
        statuses: Collection[int],
        codes: Collection[str | None] = (),
        param: str | None = None,
        level: Level = "FAIL",
    ) -> Shape:
        """Note whether `response` is an error that clients can show; the error itself, or nothing."""
        expected = " or ".join(map(str, statuses))
        if not self.check(
            f"{title}: status {expected}", response.status_code in statuses, _status_line(response), level
        ):
            return {}
        self.check(f"{title}: Content-Type is JSON", _is_json(response), response.headers.get("content-type"))
        body = _json_object(response)
        self.check_schema(title, "ErrorResponse", body)
        error = body.get("error") if body else None
        if not isinstance(error, dict):
            return {}
        message = str(error.get("message") or "")
        plain = message.strip() and "Traceback" not in message and "<html" not in message.lower()
        self.check(f"{title}: the message is plain text", plain, message)
        if codes:
            self.check(f"{title}: `code`", error.get("code") in codes, error, "WARN")
        if param:
            self.check(f"{title}: `param` is {param}", error.get("param") == param, error, "WARN")
        return error


def schema_faults(schema: str, value: object) -> list[str]:
    """Where `value` differs from one of OpenAI's schemas."""
    validator = Draft202012Validator({**_SCHEMAS, "$ref": f"#/components/schemas/{schema}"})
    return [f"{error.json_path}: {error.message[:_LONGEST_SHOWN]}" for error in validator.iter_errors(value)]


def shown(value: object) -> str:
    """`value` on one line, short enough to read."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _is_json(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith("application/json")


def _json_object(response: httpx.Response) -> Shape | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _status_line(response: httpx.Response) -> str:
    return f"HTTP {response.status_code} {response.text[:_LONGEST_SHOWN]}"
