"""Variables that nobody reads are told, where somebody may have meant a setting."""

import pytest

from opendify.settings.unknown import unknown_names


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("GUNICORN_THREAD", ".env: 'GUNICORN_THREAD' is no setting; did you mean GUNICORN_THREADS?"),
        ("PROT", ".env: 'PROT' is no setting; did you mean PORT?"),
        ("api_keys", ".env: 'api_keys' is no setting; did you mean API_KEYS?"),
        ("FAVOURITE_COLOUR", ".env: 'FAVOURITE_COLOUR' is no setting"),
        ("app-AbCdEfGh1234567890AbCdEf", ".env: (hidden) is no setting"),
    ],
)
def test_what_stands_in_the_file_and_is_no_setting_is_told(name: str, line: str) -> None:
    assert unknown_names({name: "5"}, {}) == [line]


def test_settings_and_what_others_read_from_the_file_are_not_told() -> None:
    in_file = {
        "GUNICORN_THREADS": "8",
        "API_KEYS_FILE": "/run/secrets/keys",
        "PORT": "80",
        "GUNICORN_CMD_ARGS": "--workers 2",
        "https_proxy": "http://proxy",
        "COMPOSE_PROJECT_NAME": "chat",
        "TZ": "Europe/Vienna",
        "OTEL_SERVICE_NAME": "chat",
        "JUST A WORD": None,
    }

    assert unknown_names(in_file, {}) == []


def test_of_the_environment_only_what_is_nearly_a_setting_of_ours_is_told() -> None:
    environ = {
        "GUNICORN_WORKER": "2",
        "DIFY_API_URL": "http://dify",
        # Kubernetes makes such from the name of a service.
        "DIFY_API_PORT": "tcp://10.0.0.1:5001",
        "DIFY_API_SERVICE_HOST": "10.0.0.1",
        "API_KEY": "somebody's",
        "HOME": "/root",
    }

    assert unknown_names({}, environ) == [
        "'DIFY_API_URL' is no setting; did you mean DIFY_API_BASE?",
        "'GUNICORN_WORKER' is no setting; did you mean GUNICORN_WORKERS?",
    ]


def test_what_is_told_of_the_file_is_not_told_again() -> None:
    given = {"GUNICORN_THREAD": "5"}

    assert len(unknown_names(given, given)) == 1
