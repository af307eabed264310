"""The tables of English pages that the code itself can tell; `python -m tests.readme_tables` writes them."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from opendify import errors
from opendify.errors import GatewayError
from opendify.settings import SETTINGS, SettingDoc, load_server_settings, load_settings
from opendify.translate.parameters import CHAT_COMPLETION_PARAMETERS, COMPLETION_PARAMETERS, Parameter
from opendify.translate.response_parameters import RESPONSE_PARAMETERS

PROJECT = Path(__file__).parent.parent
PAGES = [
    page for page in (PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")) if ".zh-CN." not in page.name
]
_MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _parameters(parameters: Iterable[Parameter]) -> str:
    return _table(
        ("parameter", "", "note"), ((f"`{each.name}`", each.treatment, each.note) for each in parameters)
    )


# Each group of settings begins with the one that stands here, in their own order.
_SETTING_GROUPS: Final[Mapping[str, str]] = {
    "DIFY_API_BASE": "models",
    "ENVIRONMENT": "logs",
    "MAX_REQUEST_BYTES": "files",
    "AUTH_MODE": "access",
    "DIFY_TRANSPORT": "dify",
    "CORS_ORIGINS": "web",
    "CONVERSATION_STORE_URL": "conversations",
    "MAX_AUDIO_BYTES": "media",
    "SENTRY_DSN": "reports",
    "SERVER_HOST": "server",
}


def _grouped_settings() -> dict[str, list[SettingDoc]]:
    groups: dict[str, list[SettingDoc]] = {}
    for each in SETTINGS:
        if each.name in _SETTING_GROUPS:
            group = groups.setdefault(_SETTING_GROUPS[each.name], [])
        group.append(each)
    return groups


def _settings(settings: Iterable[SettingDoc]) -> str:
    def default(value: str, in_development: str | None) -> str:
        shown = f"`{value}`" if value else ""
        return f"{shown} (development: `{in_development}`)" if in_development else shown

    return _table(
        ("setting", "default", "unit", "meaning"),
        (
            (
                " or ".join(f"`{name}`" for name in each.variables),
                default(each.default, each.development_default),
                each.unit,
                each.description,
            )
            for each in settings
        ),
    )


def _errors() -> str:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GatewayError)
    ]
    shown = sorted((kind for kind in kinds if kind is not GatewayError), key=lambda kind: kind.status)
    rows = {(kind.status, kind.type, kind.code or ""): kind for kind in reversed(shown)}
    return _table(
        ("status", "`type`", "`code`", "when", "retry advice"),
        (
            (
                str(status),
                f"`{type_}`",
                f"`{code}`" if code else "varies",
                _first_sentence(kind),
                _advice(kind),
            )
            for (status, type_, code), kind in sorted(rows.items())
        ),
    )


def _first_sentence(kind: type[GatewayError]) -> str:
    return (inspect.getdoc(kind) or "").partition(".")[0]


def _advice(kind: type[GatewayError]) -> str:
    if kind.retry_after_seconds:
        return "`Retry-After`"
    return "" if kind.should_retry is None else f"`x-should-retry: {str(kind.should_retry).lower()}`"


@dataclass(frozen=True)
class Budget:
    """Seconds that something may take, and what happens then; each of a `group` is longer than the last."""

    group: str
    name: str
    seconds: float
    then: str


def budgets() -> list[Budget]:
    """All budgets that must agree, with the values that a new installation has."""
    environ = {"DIFY_API_BASE": "https://dify.example", "MODEL_CONFIG": '{"bot": "app-bot"}'}
    app, server = load_settings(environ), load_server_settings({})
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["opendify"]
    docker = float(compose["stop_grace_period"].removesuffix("s"))
    deployment = yaml.safe_load((PROJECT / "deploy/kubernetes/base/deployment.yaml").read_text())
    # Kubernetes counts the pod's preparation (`preStop`) in.
    kubernetes = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    asking, ending, idle = "an answer", "a restart", "an idle connection"
    return [
        Budget(asking, "KEEPALIVE_SECONDS", app.keepalive_seconds, "a silent stream gets a comment"),
        Budget(asking, "DIFY_IDLE_TIMEOUT", app.dify_idle_timeout_seconds, "a silent Dify is given up"),
        Budget(
            asking,
            "DIFY_FIRST_EVENT_TIMEOUT",
            app.dify_first_event_timeout_seconds,
            "a Dify that has not begun is given up",
        ),
        Budget(asking, "DIFY_TOTAL_TIMEOUT", app.dify_total_timeout_seconds, "the answer is given up"),
        Budget(asking, "proxy_read_timeout", _nginx_seconds("proxy_read_timeout"), "nginx gives up"),
        Budget(ending, "DRAIN_SECONDS", server.drain_seconds, "running answers end with an error"),
        Budget(
            ending,
            "GUNICORN_GRACEFUL_TIMEOUT",
            server.graceful_timeout_seconds,
            "what still hangs is cut off",
        ),
        Budget(ending, "stop_grace_period", docker, "Docker kills the container"),
        Budget(ending, "terminationGracePeriodSeconds", kubernetes, "Kubernetes kills the pod"),
        Budget(idle, "keepalive_timeout", _nginx_seconds("keepalive_timeout"), "nginx closes it"),
        Budget(idle, "GUNICORN_KEEPALIVE", server.keepalive_seconds, "the instance closes it"),
    ]


def _nginx_seconds(directive: str) -> float:
    site = (PROJECT / "deploy/nginx/opendify.conf").read_text()
    (seconds,) = re.findall(rf"^ *{directive} (\d+)s;$", site, re.MULTILINE)
    return float(seconds)


def _time_budgets() -> str:
    return _table(
        ("of", "budget", "seconds", "then"),
        ((each.group, f"`{each.name}`", f"{each.seconds:g}", each.then) for each in budgets()),
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "chat-completion-parameters": lambda: _parameters(CHAT_COMPLETION_PARAMETERS),
    "completion-parameters": lambda: _parameters(COMPLETION_PARAMETERS),
    "response-parameters": lambda: _parameters(RESPONSE_PARAMETERS),
    "errors": _errors,
    **{f"settings-{group}": partial(_settings, settings) for group, settings in _grouped_settings().items()},
    "time-budgets": _time_budgets,
}


def with_tables(text: str) -> str:
    """`text` with every marked table as the code tells it today."""
    return _MARKED.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}{match[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
