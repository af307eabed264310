import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from opendify.settings import (
    PROJECT_FOLDER,
    SETTINGS,
    ApiKey,
    ServerSettings,
    SettingDoc,
    Settings,
    SettingsError,
    default_workers,
    effective_cpus,
    load_environment,
    load_server_settings,
    load_settings,
)

SECRET = "app-Q7wErTy1UiOp2AsDfGh3JkLz"
MINIMAL = {"DIFY_API_BASE": "https://dify.example", "MODEL_CONFIG": f'{{"translator": "{SECRET}"}}'}


def load(**variables: str) -> Settings:
    return load_settings(MINIMAL | variables)


def load_server(**variables: str) -> ServerSettings:
    return load_server_settings(variables, cpus=lambda: 4.0)


def fault_of(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_two_variables_are_enough() -> None:
    settings = load()

    assert [model.name for model in settings.models] == ["translator"]
    assert dataclasses.replace(settings, models=()) == Settings(
        models=(),
        environment="production",
        log_level="info",
        data_dir=PROJECT_FOLDER / "data",
        auth_mode="keys",
        api_keys=(),
        admin_api_key=None,
        dify_connect_timeout_seconds=5,
        dify_first_event_timeout_seconds=300,
        dify_idle_timeout_seconds=90,
        dify_total_timeout_seconds=1800,
        stream_commit_seconds=5,
        keepalive_seconds=10,
        dify_max_concurrency=0,
        queue_seconds=5,
        queue_length=16,
        dify_user_prefix="",
        replay_max_chars=24_000,
        max_request_bytes=52_428_800,
        cors_origins=None,
        allowed_hosts=(),
        url_prefix="",
        auto_generate_name=False,
        app_profile_ttl_seconds=600,
        server_host="0.0.0.0",
    )


def test_the_server_needs_no_variable() -> None:
    assert load_server() == ServerSettings(
        environment="production",
        log_level="info",
        host="0.0.0.0",
        port=5000,
        workers=9,
        worker_class="sync",
        threads=128,
        timeout_seconds=60,
        graceful_timeout_seconds=120,
        drain_seconds=110,
        keepalive_seconds=75,
        max_requests=0,
        max_requests_jitter=0,
        reload=False,
    )


def test_development_listens_on_loopback_with_one_worker_that_reloads() -> None:
    server = load_server(ENVIRONMENT="development")

    assert (server.host, server.workers, server.reload) == ("127.0.0.1", 1, True)
    assert load(ENVIRONMENT="development").server_host == "127.0.0.1"


def test_what_is_set_wins_over_the_defaults_of_development() -> None:
    server = load_server(
        ENVIRONMENT="development", SERVER_HOST="0.0.0.0", GUNICORN_WORKERS="3", GUNICORN_RELOAD="false"
    )

    assert (server.host, server.workers, server.reload) == ("0.0.0.0", 3, False)


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("ENVIRONMENT", "Development", "environment", "development"),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("DATA_DIR", "/var/lib/opendify", "data_dir", Path("/var/lib/opendify")),
        ("DATA_DIR", "elsewhere/data", "data_dir", PROJECT_FOLDER / "elsewhere/data"),
        ("AUTH_MODE", "open", "auth_mode", "open"),
        ("ADMIN_API_KEY", "sk-admin", "admin_api_key", "sk-admin"),
        ("DIFY_CONNECT_TIMEOUT", "2.5", "dify_connect_timeout_seconds", 2.5),
        ("DIFY_IDLE_TIMEOUT", "60", "dify_idle_timeout_seconds", 60),
        ("DIFY_FIRST_EVENT_TIMEOUT", "120", "dify_first_event_timeout_seconds", 120),
        ("DIFY_TOTAL_TIMEOUT", "3600", "dify_total_timeout_seconds", 3600),
        ("STREAM_COMMIT_SECONDS", "0", "stream_commit_seconds", 0),
        ("KEEPALIVE_SECONDS", "15", "keepalive_seconds", 15),
        ("DIFY_USER_PREFIX", "team-", "dify_user_prefix", "team-"),
        ("REPLAY_MAX_CHARS", "0", "replay_max_chars", 0),
        ("MAX_REQUEST_BYTES", "1048576", "max_request_bytes", 1_048_576),
        ("CORS_ORIGINS", "*", "cors_origins", ("*",)),
        ("CORS_ORIGINS", "OFF", "cors_origins", ()),
        (
            "CORS_ORIGINS",
            "https://chat.example.com/, http://localhost:3000",
            "cors_origins",
            ("https://chat.example.com", "http://localhost:3000"),
        ),
        ("ALLOWED_HOSTS", "Chat.Local, [::1]", "allowed_hosts", ("chat.local", "[::1]")),
        ("URL_PREFIX", "opendify/", "url_prefix", "/opendify"),
        ("URL_PREFIX", "/a//b/", "url_prefix", "/a/b"),
        ("URL_PREFIX", "/", "url_prefix", ""),
        ("AUTO_GENERATE_NAME", "yes", "auto_generate_name", True),
        ("APP_PROFILE_TTL_SECONDS", "30", "app_profile_ttl_seconds", 30),
        ("SERVER_HOST", "[::1]", "server_host", "::1"),
        ("SERVER_HOST", '"10.0.0.7"', "server_host", "10.0.0.7"),
        ("SERVER_HOST", "  10.0.0.7 ", "server_host", "10.0.0.7"),
        ("SERVER_HOST", "", "server_host", "0.0.0.0"),
    ],
)
def test_a_variable_sets_its_field(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(load(**{variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SERVER_PORT", "8080", "port", 8080),
        ("PORT", "8081", "port", 8081),
        ("GUNICORN_WORKERS", "2", "workers", 2),
        ("WEB_CONCURRENCY", "3", "workers", 3),
        ("GUNICORN_WORKER_CLASS", "gevent", "worker_class", "gevent"),
        ("GUNICORN_THREADS", "1", "threads", 1),
        ("GUNICORN_TIMEOUT", "30", "timeout_seconds", 30),
        ("GUNICORN_GRACEFUL_TIMEOUT", "20", "graceful_timeout_seconds", 20),
        ("DRAIN_SECONDS", "30.5", "drain_seconds", 30.5),
        ("GUNICORN_KEEPALIVE", "2", "keepalive_seconds", 2),
        ("GUNICORN_MAX_REQUESTS", "1000", "max_requests", 1000),
        ("GUNICORN_MAX_REQUESTS_JITTER", "50", "max_requests_jitter", 50),
        ("GUNICORN_RELOAD", "on", "reload", True),
    ],
)
def test_a_variable_sets_its_field_of_the_server(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(load_server(**{variable: text}), field) == value


def test_gunicorn_workers_wins_over_the_alias_that_platforms_set() -> None:
    assert load_server(GUNICORN_WORKERS="2", WEB_CONCURRENCY="8").workers == 2


def test_workers_are_replaced_apart_from_each_other_unless_told_otherwise() -> None:
    assert load_server(GUNICORN_MAX_REQUESTS="1000").max_requests_jitter == 200


@pytest.mark.parametrize(("graceful", "drain"), [("120", 110), ("60", 50), ("20", 15), ("4", 3)])
def test_answers_get_less_time_to_end_than_their_worker(graceful: str, drain: float) -> None:
    assert load_server(GUNICORN_GRACEFUL_TIMEOUT=graceful).drain_seconds == drain


def test_the_drain_file_lies_with_the_other_state_unless_it_is_put_elsewhere() -> None:
    assert load(DATA_DIR="/var/lib/opendify").drain_path == Path("/var/lib/opendify/drain")
    assert load(DRAIN_FILE="/run/opendify/drain").drain_path == Path("/run/opendify/drain")


@pytest.mark.parametrize(
    ("variable", "text", "fault"),
    [
        ("ENVIRONMENT", "staging", "ENVIRONMENT must be one of production, development"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of debug, info, warning, error, critical"),
        ("AUTH_MODE", "none", "AUTH_MODE must be one of keys, open, passthrough"),
        ("AUTO_GENERATE_NAME", "maybe", "AUTO_GENERATE_NAME must be true or false"),
        (
            "DIFY_IDLE_TIMEOUT",
            "90s",
            "DIFY_IDLE_TIMEOUT must be a number of seconds from 1 to 86400, without a unit",
        ),
        (
            "DIFY_CONNECT_TIMEOUT",
            "nan",
            "DIFY_CONNECT_TIMEOUT must be a number of seconds from 0.1 to 300, without a unit",
        ),
        ("REPLAY_MAX_CHARS", "-1", "REPLAY_MAX_CHARS must be a whole number from 0 to 10000000"),
        ("MAX_REQUEST_BYTES", "50MB", "MAX_REQUEST_BYTES must be a whole number from 1024 to 10737418240"),
        pytest.param(
            "MAX_REQUEST_BYTES",
            "9" * 5000,
            "MAX_REQUEST_BYTES must be a whole number from 1024 to 10737418240",
            id="more digits than Python reads",
        ),
        (
            "CORS_ORIGINS",
            "https://chat.example.com/page",
            "CORS_ORIGINS must be *, off, or a comma list of origins such as https://chat.example.com",
        ),
        (
            "ALLOWED_HOSTS",
            "http://chat.local",
            "ALLOWED_HOSTS must be a comma list of host names, without scheme, port and path",
        ),
        (
            "URL_PREFIX",
            "/../x",
            "URL_PREFIX must be a path such as /opendify, of letters, digits and . _ ~ -",
        ),
        (
            "SERVER_HOST",
            "127.0.0.1:5000",
            "SERVER_HOST must be a host name or an address, such as 127.0.0.1, without scheme and port",
        ),
        (
            "DIFY_USER_PREFIX",
            "x" * 65,
            "DIFY_USER_PREFIX must be at most 64 characters, none of them a control character",
        ),
        ("DATA_DIR", "a\x00b", "DATA_DIR must be a path without control characters"),
        (
            "ADMIN_API_KEY",
            "two words",
            "ADMIN_API_KEY must be one key in visible ASCII characters, without blanks",
        ),
        (
            "KEEPALIVE_SECONDS",
            "90",
            "KEEPALIVE_SECONDS (90) must be less than DIFY_IDLE_TIMEOUT (90)",
        ),
        (
            "DIFY_CONNECT_TIMEOUT",
            "100",
            "DIFY_CONNECT_TIMEOUT (100) must be less than DIFY_IDLE_TIMEOUT (90)",
        ),
        (
            "STREAM_COMMIT_SECONDS",
            "300",
            "STREAM_COMMIT_SECONDS (300) must be less than DIFY_FIRST_EVENT_TIMEOUT (300)",
        ),
        (
            "DIFY_IDLE_TIMEOUT",
            "301",
            "DIFY_IDLE_TIMEOUT (301) must be at most DIFY_FIRST_EVENT_TIMEOUT (300)",
        ),
        (
            "DIFY_TOTAL_TIMEOUT",
            "200",
            "DIFY_FIRST_EVENT_TIMEOUT (300) must be at most DIFY_TOTAL_TIMEOUT (200)",
        ),
        (
            "MODEL_CONFIG",
            f'{{"slow": {{"api_key": "{SECRET}", "timeout_seconds": 3600}}}}',
            "model 'slow': `timeout_seconds` (3600) must be at most DIFY_TOTAL_TIMEOUT (1800)",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(variable: str, text: str, fault: str) -> None:
    assert fault_of(**{variable: text}) == fault


@pytest.mark.parametrize(
    ("variable", "text", "fault"),
    [
        ("ENVIRONMENT", "prod", "ENVIRONMENT must be one of production, development"),
        ("SERVER_PORT", "65536", "SERVER_PORT must be a whole number from 1 to 65535"),
        ("GUNICORN_WORKERS", "0", "GUNICORN_WORKERS must be a whole number from 1 to 1024"),
        ("GUNICORN_WORKER_CLASS", "eventlet", "GUNICORN_WORKER_CLASS must be one of sync, gthread, gevent"),
        ("GUNICORN_RELOAD", "2", "GUNICORN_RELOAD must be true or false"),
        ("DRAIN_SECONDS", "120", "DRAIN_SECONDS (120) must be less than GUNICORN_GRACEFUL_TIMEOUT (120)"),
    ],
)
def test_a_wrong_value_for_the_server_is_refused_by_name(variable: str, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_server(**{variable: text})
    assert str(caught.value) == fault


def test_several_faults_have_a_line_each() -> None:
    assert fault_of(LOG_LEVEL="loud", AUTH_MODE="none", MODEL_CONFIG="[]").splitlines() == [
        "LOG_LEVEL must be one of debug, info, warning, error, critical",
        "AUTH_MODE must be one of keys, open, passthrough",
        'MODEL_CONFIG must be an object such as {"translator": "app-..."}',
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://api.dify.ai/v1", "https://api.dify.ai/v1"),
        ("https://api.dify.ai/v1/", "https://api.dify.ai/v1"),
        ("https://api.dify.ai", "https://api.dify.ai/v1"),
        ("https://api.dify.ai///", "https://api.dify.ai/v1"),
        ("https://API.Dify.ai/v1", "https://api.dify.ai/v1"),
        ("HTTP://dify:5001", "http://dify:5001/v1"),
        ("http://[::1]:5001/v1", "http://[::1]:5001/v1"),
        ("  http://localhost/v1\n", "http://localhost/v1"),
        ("https://example.com/dify", "https://example.com/dify/v1"),
        ("https://example.com/v1/dify", "https://example.com/v1/dify/v1"),
        ("https://api.dify.ai/v1/chat-messages", "https://api.dify.ai/v1"),
        ("https://example.com/dify/v1/workflows/run/", "https://example.com/dify/v1"),
    ],
)
def test_a_server_address_is_brought_into_one_form(text: str, address: str) -> None:
    assert load(DIFY_API_BASE=text).models[0].api_base == address


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("api.dify.ai/v1", "must begin with http:// or https://: did you mean https://api.dify.ai/v1 ?"),
        ("localhost:5001/v1", "must begin with http:// or https://: did you mean http://localhost:5001/v1 ?"),
        ("10.0.0.7/v1", "must begin with http:// or https://: did you mean http://10.0.0.7/v1 ?"),
        (SECRET, "must begin with http:// or https://"),
        ("ftp://dify.example", "must begin with http:// or https://"),
        ("https://", "must be an address with a valid host and port"),
        ("https://:5001", "must be an address with a valid host and port"),
        ("https://dify:99999", "must be an address with a valid host and port"),
        ("https://dify:port", "must be an address with a valid host and port"),
        (
            "https://me:secret@dify.example",
            "must not hold a user name or password; use the model's `headers`",
        ),
        ("https://dify.example/v1?x=1", "must not have a query (?) or a fragment (#)"),
        ("https://dify.example/v1#top", "must not have a query (?) or a fragment (#)"),
        ("https://dify .example", "must be an address in visible ASCII characters, without blanks"),
        ("https://dify。example", "must be an address in visible ASCII characters, without blanks"),
    ],
)
def test_an_address_that_cannot_work_is_refused(text: str, fault: str) -> None:
    assert fault_of(DIFY_API_BASE=text) == f"DIFY_API_BASE {fault}"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("sk-one", (ApiKey("456f1612bd25", "sk-one"),)),
        ("alice:sk-one, bob:sk-two", (ApiKey("alice", "sk-one"), ApiKey("bob", "sk-two"))),
        ("alice:sk-one,", (ApiKey("alice", "sk-one"),)),
        ("openwebui2024:sk-one", (ApiKey("openwebui2024", "sk-one"),)),
        ("app-server:sk-one", (ApiKey("app-server", "sk-one"),)),
        ("alice:with:colon", (ApiKey("alice", "with:colon"),)),
        ("ops@example.com:sk-one", (ApiKey("ops@example.com", "sk-one"),)),
    ],
)
def test_api_keys_are_a_comma_list(text: str, keys: tuple[ApiKey, ...]) -> None:
    assert load(API_KEYS=text).api_keys == keys


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alice:", "entry 1 must be name:key or key, the key in visible ASCII characters, without blanks"),
        ("a b", "entry 1 must be name:key or key, the key in visible ASCII characters, without blanks"),
        (":sk-one", "entry 1 needs a name of 1 to 64 letters, digits and . _ @ -"),
        ("alice:sk-one,a b:sk-two", "entry 2 needs a name of 1 to 64 letters, digits and . _ @ -"),
        (f"{SECRET}:alice", "entry 1 seems to be swapped: write name:key, the name first"),
        ("sk-one:alice", "entry 1 seems to be swapped: write name:key, the name first"),
        ("alice:sk-one,alice:sk-two", "entry 2 repeats the name or the key of an earlier entry"),
        ("alice:sk-one,bob:sk-one", "entry 2 repeats the name or the key of an earlier entry"),
    ],
)
def test_api_keys_that_tell_nobody_apart_are_refused(text: str, fault: str) -> None:
    assert fault_of(API_KEYS=text) == f"API_KEYS {fault}"


def test_secrets_can_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("alice:sk-one\n")
    (tmp_path / "admin").write_text("sk-admin\r\n")

    settings = load(API_KEYS_FILE=str(tmp_path / "keys"), ADMIN_API_KEY_FILE=str(tmp_path / "admin"))

    assert settings.api_keys == (ApiKey("alice", "sk-one"),)
    assert settings.admin_api_key == "sk-admin"


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    fault = fault_of(ADMIN_API_KEY="sk-admin", ADMIN_API_KEY_FILE=str(tmp_path / "admin"))

    assert fault == "ADMIN_API_KEY and ADMIN_API_KEY_FILE are both set; keep one"


def test_a_secret_file_that_cannot_serve_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    missing = fault_of(ADMIN_API_KEY_FILE="/no/such/file")
    assert missing == (
        "ADMIN_API_KEY_FILE names '/no/such/file', which cannot be read (No such file or directory)"
    )
    assert "which is empty" in fault_of(ADMIN_API_KEY_FILE=str(tmp_path / "empty"))
    assert "which is not UTF-8 text" in fault_of(ADMIN_API_KEY_FILE=str(tmp_path / "binary"))


def test_a_secret_given_in_place_of_its_file_is_not_repeated() -> None:
    assert "names (hidden), which cannot be read" in fault_of(ADMIN_API_KEY_FILE=SECRET)


def test_a_model_is_found_by_name_and_by_alias() -> None:
    settings = load(MODEL_CONFIG=f'{{"translator": {{"api_key": "{SECRET}", "aliases": ["gpt-4o"]}}}}')

    translator = settings.models[0]
    assert settings.find_model("translator") is translator
    assert settings.find_model("gpt-4o") is translator
    assert settings.find_model("gpt-4") is None


def test_secrets_are_not_in_the_settings_repr() -> None:
    settings = load(API_KEYS="alice:sk-one", ADMIN_API_KEY="sk-admin")

    assert "translator" in repr(settings)
    assert not [secret for secret in (SECRET, "sk-one", "sk-admin") if secret in repr(settings)]


def test_the_dotenv_file_gives_what_the_process_does_not(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("\ufeffSERVER_PORT=8080\nLOG_LEVEL=debug\nAPI_KEYS=$HOME-${PATH}\n")

    environ = load_environment(dotenv, {"LOG_LEVEL": "error"})

    assert environ == {"SERVER_PORT": "8080", "LOG_LEVEL": "error", "API_KEYS": "$HOME-${PATH}"}


def test_the_dotenv_file_need_not_exist(tmp_path: Path) -> None:
    assert load_environment(tmp_path / ".env", {"LOG_LEVEL": "error"}) == {"LOG_LEVEL": "error"}


def test_a_dotenv_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("DIFY_USER_PREFIX=größe".encode("latin-1"))

    with pytest.raises(SettingsError, match=r"^\.env cannot be read; it must be UTF-8 text"):
        load_environment(tmp_path / ".env", {})


@pytest.mark.parametrize(
    ("cpus", "workers"), [(0.1, 1), (0.25, 1), (0.5, 2), (1, 3), (1.5, 4), (2, 5), (4, 9), (8, 17)]
)
def test_workers_follow_the_cpus(cpus: float, workers: int) -> None:
    assert default_workers(cpus) == workers


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        pytest.param({}, 4.0, id="no cgroups"),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, id="v2 container"
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"},
            4.0,
            id="v2 without limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/opendify.service\n",
                "sys/fs/cgroup/system.slice/opendify.service/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "200000 100000\n",
            },
            2.0,
            id="v2 limit on the parent",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/0f3a\n2:cpuset:/docker/0f3a\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1.5,
            id="v1 container that sees the host's path",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4.0,
            id="v1 without limit",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"},
            4.0,
            id="quota above affinity",
        ),
        pytest.param({"proc/self/cgroup": "what\n", "sys/fs/cgroup/cpu.max": "?"}, 4.0, id="unknown form"),
    ],
)
def test_usable_cpus_are_the_least_of_affinity_and_quotas(
    tmp_path: Path, files: dict[str, str], cpus: float
) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert effective_cpus(tmp_path, affinity=4) == cpus


def test_the_running_system_tells_its_cpus() -> None:
    assert effective_cpus() > 0


def test_settings_have_one_name_and_a_description_each() -> None:
    names = [doc.name for doc in SETTINGS]

    assert len(names) == len(set(names))
    assert all(doc.description.endswith(".") for doc in SETTINGS)


def test_a_setting_shows_every_variable_that_is_read_for_it() -> None:
    doc = SettingDoc(name="KEY", description="A key.", alias="OLD_KEY", is_secret=True)

    assert doc.variables == ("KEY", "OLD_KEY", "KEY_FILE")


def run_check(**variables: str) -> subprocess.CompletedProcess[str]:
    unset = {variable: "" for doc in SETTINGS for variable in doc.variables}
    return subprocess.run(
        [sys.executable, "-m", "opendify.settings"],
        cwd=PROJECT_FOLDER,
        # A variable set to nothing hides what a developer's own `.env` says.
        env=unset | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_check_says_on_one_line_that_the_configuration_is_good() -> None:
    done = run_check(**MINIMAL, API_KEYS="alice:sk-one", GUNICORN_WORKERS="2")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("configuration ok: 1 model, 1 API key, production, 2 workers on 0.0.0.0:5000\n")


def test_names_that_are_no_setting_are_left_to_the_server_unless_it_does_not_start() -> None:
    starts = run_check(**MINIMAL, API_KEYS="alice:sk-one", GUNICORN_WORKER="2")
    refused = run_check(DIFY_API_URL="http://dify/v1", MODEL_CONFIG=MINIMAL["MODEL_CONFIG"])

    assert (starts.returncode, starts.stderr) == (0, "")
    assert refused.stderr.splitlines() == [
        "warning: 'DIFY_API_URL' is no setting; did you mean DIFY_API_BASE?",
        "MODEL_CONFIG, entry 1 'translator': has no `api_base`, and DIFY_API_BASE is not set",
    ]


def test_the_check_says_what_is_wrong_without_a_traceback() -> None:
    done = run_check(MODEL_CONFIG=MINIMAL["MODEL_CONFIG"], LOG_LEVEL="loud", SERVER_PORT="http")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "LOG_LEVEL must be one of debug, info, warning, error, critical",
        "MODEL_CONFIG, entry 1 'translator': has no `api_base`, and DIFY_API_BASE is not set",
        "SERVER_PORT must be a whole number from 1 to 65535",
    ]
