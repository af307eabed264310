"""The directions and bans that keep the rooms apart, and nothing opened before it is used.

The order of `ROOMS` is the architecture's. Where the code differs, for a reason:
`settings` is read through `configuration`, which stands before it; `records` names
`settings.AppMode`, so it stands after; `translate` reads models (`DifyApp`) and profiles,
which are plain facts; `serving` makes the first keys when the server starts, so it knows `access`.
"""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import opendify
from opendify import errors
from opendify.errors import GatewayError

ROOT = Path(opendify.__file__).parent
TESTS = Path(__file__).parent

# A room imports only from lines above its own, and from itself; rooms of one line do not know each other.
ROOMS = (
    ("errors", "configuration", "ids"),
    ("settings",),
    ("records",),
    ("telemetry",),
    ("waiting", "bounded", "kernel"),
    ("wire",),
    ("translate",),
    ("conversations", "stores", "dify", "audit"),
    ("turns", "conversation_admin", "doctor", "files", "owners"),
    ("runs", "attachments", "paused_runs"),
    ("run_opener",),
    ("gateway",),
    ("audio", "extras", "responses"),
    ("access",),
    ("serving",),
    ("routes",),
    ("app", "cli", "simulator", "healthcheck"),
)
LINES = {room: number for number, line in enumerate(ROOMS) for room in line}
# `opendify simulate` starts the simulator.
ALLOWED = {("cli", "simulator")}

FLASK_ROOMS = {"app", "access", "serving", "telemetry", "routes", "simulator", "cli"}
PURE_ROOMS = {"errors", "records", "wire", "translate", "conversations"}
BANNED: tuple[tuple[str, set[str]], ...] = (
    # library, the rooms that may use it
    ("flask", FLASK_ROOMS),
    ("werkzeug", FLASK_ROOMS),
    # Files that clients name by their URLs are fetched in `attachments`.
    ("httpx", {"dify", "cli", "attachments"}),
    ("httpcore", {"dify", "attachments"}),
    ("httptools", {"dify"}),
    ("requests", set()),
    ("redis", {"stores"}),
    ("psycopg", {"stores"}),
    ("sqlite3", {"stores"}),
    ("gunicorn", {"serving"}),
    ("boto3", {"files"}),
    ("botocore", {"files"}),
)
IMPURE = ("time", "uuid", "random", "secrets", "threading", "socket", "os", "logging", "subprocess")


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _imports(node: ast.AST) -> Iterator[str]:
    """The dotted names that really run; those for the type checker alone count too, but for libraries."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def _imports_of(path: Path) -> list[str]:
    return list(_imports(ast.parse(path.read_text())))


def _own_rooms(path: Path) -> set[str]:
    own = (name.split(".") for name in _imports_of(path) if name.startswith("opendify."))
    return {parts[1] for parts in own if parts[1] != "__version__"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_module_imports_only_from_the_lines_above_its_own(path: Path) -> None:
    room = _room(path)
    if room == "__init__":
        assert _own_rooms(path) == set()
        return
    assert room in LINES, f"{room} has no place in the order yet"
    for other in _own_rooms(path) - {room}:
        assert other in LINES, f"{other} has no place in the order yet"
        assert LINES[other] < LINES[room] or (room, other) in ALLOWED, f"{room} may not know {other}"


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_library_stays_in_its_rooms(path: Path) -> None:
    libraries = {name.split(".")[0] for name in _imports_of(path)}

    for library, rooms in BANNED:
        assert library not in libraries or _room(path) in rooms, f"{library} is not for {_room(path)}"


@pytest.mark.parametrize("path", [path for path in _modules() if _room(path) in PURE_ROOMS], ids=_name)
def test_a_pure_room_knows_no_time_chance_or_world(path: Path) -> None:
    libraries = {name.split(".")[0] for name in _imports_of(path)}

    assert libraries.isdisjoint(IMPURE)
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert {call.id for call in calls if isinstance(call, ast.Name)}.isdisjoint({"open", "print", "input"})


@pytest.mark.parametrize("path", [*_modules(), TESTS.parent / "main.py"], ids=lambda path: path.name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if path == ROOT / "settings/loading.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"os.environ", "os.getenv", "os.environb"}
    assert {"os.environ", "os.getenv"}.isdisjoint(_imports_of(path))


@pytest.mark.parametrize("path", [path for path in _modules() if _room(path) == "simulator"], ids=_name)
def test_the_simulator_is_no_judge_in_its_own_cause(path: Path) -> None:
    assert _own_rooms(path) <= {"simulator", "wire"}


def _error_classes() -> list[type[GatewayError]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in kinds if issubclass(kind, GatewayError)]


# DESIGN 5: status, type, code, `x-should-retry`, whether there is a `Retry-After`.
REQUEST = "invalid_request_error"
TABLE: dict[str, tuple[int, str, str | None, bool | None, bool]] = {
    "GatewayError": (500, "server_error", "internal_error", None, False),
    "InternalError": (500, "server_error", "internal_error", False, False),
    "RepeatRefused": (500, "server_error", "repeat_refused", False, False),
    "InvalidRequest": (400, REQUEST, None, None, False),
    "InvalidInput": (400, REQUEST, "invalid_input", None, False),
    "UploadForgotten": (400, REQUEST, "invalid_input", None, False),
    "FileNotFetched": (400, REQUEST, "file_not_fetched", None, False),
    "ContextLengthExceeded": (400, REQUEST, "context_length_exceeded", None, False),
    "IdempotencyKeyReused": (400, REQUEST, "idempotency_key_reused", None, False),
    "Unauthorized": (401, REQUEST, "invalid_api_key", None, False),
    "PermissionDenied": (403, REQUEST, "permission_denied", None, False),
    "ModelNotFound": (404, REQUEST, "model_not_found", None, False),
    "ConversationNotFound": (404, REQUEST, "conversation_not_found", None, False),
    "MessageNotFound": (404, REQUEST, "message_not_found", None, False),
    "WorkflowRunNotFound": (404, REQUEST, "workflow_run_not_found", None, False),
    "ResponseNotFound": (404, REQUEST, "response_not_found", None, False),
    "ItemNotFound": (404, REQUEST, "item_not_found", None, False),
    "FileNotStored": (404, REQUEST, "file_not_found", None, False),
    "RouteNotFound": (404, REQUEST, "not_found", None, False),
    "MethodNotSupported": (405, REQUEST, "method_not_supported", None, False),
    "RequestTooLarge": (413, REQUEST, "request_too_large", None, False),
    "FileQuotaExceeded": (413, REQUEST, "file_quota_exceeded", None, False),
    "UnsupportedMedia": (415, REQUEST, "unsupported_media_type", None, False),
    "RateLimited": (429, "requests", "rate_limit_exceeded", None, True),
    "UsageLimited": (429, "requests", "rate_limit_exceeded", None, True),
    "TooManyWrongKeys": (429, "requests", "rate_limit_exceeded", None, True),
    "WorkerBusy": (429, "requests", "rate_limit_exceeded", None, True),
    "QuotaExceeded": (429, "insufficient_quota", "insufficient_quota", False, False),
    "FileStorageFull": (507, "server_error", "file_storage_full", False, False),
    "FileStorageUnavailable": (503, "server_error", "file_storage_unavailable", None, True),
    "ResponsesUnavailable": (503, "server_error", "response_store_unavailable", None, True),
    # A status that other servers' logs use too.
    "ClientLeft": (499, REQUEST, "client_closed_request", False, False),
    "ClientLeftEarly": (499, REQUEST, "client_closed_request", False, False),
    "Draining": (503, "server_error", "draining", None, True),
    "AccessUnknown": (503, "server_error", "key_store_unavailable", None, True),
    "DifyError": (502, "server_error", "upstream_error", False, False),
    "DifyAuthError": (502, "server_error", "upstream_auth_error", False, False),
    "DifyAppError": (502, "server_error", "upstream_app_error", False, False),
    # Nothing ran, and the next try asks Dify for the mode first.
    "DifyWrongMode": (502, "server_error", "upstream_app_error", True, False),
    "DifyRunFailed": (502, "server_error", "upstream_run_failed", False, False),
    "DifyUnreachable": (503, "server_error", "upstream_unreachable", None, True),
    "DifyCircuitOpen": (503, "server_error", "upstream_circuit_open", None, True),
    "DifyGatewayFailed": (502, "server_error", "upstream_error", False, False),
    "DifyTimeout": (504, "server_error", "upstream_timeout", False, False),
}


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_a_row_of_the_table(kind: type[GatewayError]) -> None:
    status, type_, code, should_retry, advises = TABLE[kind.__name__]

    assert (kind.status, kind.type, kind.code, kind.should_retry) == (status, type_, code, should_retry)
    assert (kind.retry_after_seconds is not None) is advises
    assert kind.status != 408, "SDKs retry it"


def test_every_row_of_the_table_is_an_error() -> None:
    assert {kind.__name__ for kind in _error_classes()} == set(TABLE)


def test_errors_live_in_one_place() -> None:
    for path in _modules():
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        bases = {ast.unparse(base) for node in classes for base in node.bases}
        assert path.name == "errors.py" or bases.isdisjoint(TABLE), path


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_no_test_patches_what_it_tests(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert not any(name.startswith(("unittest.mock", "mock")) for name in _imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"monkeypatch.setattr", "monkeypatch.setitem", "patch.setattr"}


_WATCH = """
import sys, threading, importlib, json
seen = []
OPENED = "socket.connect socket.bind socket.getaddrinfo sqlite3.connect subprocess.Popen os.mkdir".split()
def watch(happening, facts):
    if happening in OPENED:
        seen.append((happening, str(facts[1:])))
    if happening == "open" and isinstance(facts[1], str) and set(facts[1]) & set("wax+"):
        seen.append((happening, str(facts[0])))
{before}
sys.addaudithook(watch)
threads = threading.active_count()
{action}
print(json.dumps([seen, threading.active_count() - threads]))
"""


def _watched(before: str, action: str) -> str:
    program = _WATCH.replace("{before}", before).replace("{action}", action)
    command = [sys.executable, "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS.parent)
    return done.stdout.strip() + done.stderr


def test_importing_any_module_opens_nothing_and_starts_no_thread() -> None:
    names = [module.name for module in pkgutil.walk_packages(opendify.__path__, "opendify.")]
    assert "opendify.gateway" in names

    assert _watched("", f"for name in {names!r}: importlib.import_module(name)") == "[[], 0]"


@pytest.mark.parametrize("mode", ["open", "keys"])
def test_making_the_app_opens_nothing_and_starts_no_thread(mode: str, tmp_path: Path) -> None:
    before = (
        "from opendify.app import create_app\n"
        "from opendify.settings import load_settings\n"
        "settings = load_settings({'DIFY_API_BASE': 'http://127.0.0.1:9/v1', 'MODEL_CONFIG': "
        f"'{{\"bot\": \"app-bot\"}}', 'AUTH_MODE': {mode!r}, 'DATA_DIR': {str(tmp_path / 'data')!r}}})\n"
        "reads = []\n"
        "sys.addaudithook(lambda happening, facts: happening == 'open' and reads.append(str(facts[0])))\n"
    )
    action = (
        "app = create_app(settings)\nseen += [read for read in reads if not read.endswith(('.py', '.pyc'))]"
    )

    assert _watched(before, action) == "[[], 0]"
    assert not (tmp_path / "data").exists()


def test_the_package_has_the_rooms_that_the_order_names() -> None:
    present = {module.name for module in pkgutil.iter_modules(opendify.__path__)}

    assert present <= set(LINES), "a new room needs its line in ROOMS"
    assert importlib.import_module("opendify").__version__
