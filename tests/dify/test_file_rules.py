"""Which files an app takes, as `GET /parameters` of several versions tells it."""

import pytest

from opendify.dify.discovery import read_parameters
from opendify.dify.file_rules import read_app_rules, read_size_limits
from opendify.records import AppProfile, FileRules

BOTH = frozenset({"local_file", "remote_url"})
OLD = {
    "image": {
        "enabled": True,
        "number_limits": 3,
        "detail": "high",
        "transfer_methods": ["remote_url", "local_file"],
    }
}
# As 0.15.3 and 1.12.1 answer for a chat app with images, and for a chatflow.
CHAT = OLD | {
    "enabled": True,
    "allowed_file_types": ["image"],
    "allowed_file_extensions": [".JPG", ".PNG"],
    "allowed_file_upload_methods": ["remote_url", "local_file"],
    "number_limits": 3,
}
CHATFLOW = {
    "enabled": True,
    "allowed_file_types": ["image", "document"],
    "allowed_file_extensions": [],
    "allowed_file_upload_methods": ["local_file", "remote_url"],
    "number_limits": 3,
}


@pytest.mark.parametrize(
    ("file_upload", "rules"),
    [
        pytest.param(OLD, FileRules(frozenset({"image"}), methods=BOTH, most=3), id="the old form"),
        pytest.param(
            CHAT, FileRules(frozenset({"image"}), frozenset({"jpg", "png"}), BOTH, 3), id="both forms"
        ),
        pytest.param(
            CHATFLOW, FileRules(frozenset({"image", "document"}), methods=BOTH, most=3), id="the new form"
        ),
        pytest.param({"enabled": True}, FileRules(), id="no rules at all"),
        pytest.param(None, FileRules(), id="absent"),
        pytest.param(
            {"enabled": True, "allowed_file_types": "image", "number_limits": True},
            FileRules(),
            id="what makes no sense",
        ),
    ],
)
def test_an_app_s_rules_are_read_in_old_and_new_forms(file_upload: object, rules: FileRules) -> None:
    assert read_app_rules(file_upload) == rules


def test_an_input_s_rules_are_its_own() -> None:
    single = {"variable": "pic", "max_length": 256, "allowed_file_types": ["image"]}
    several = {
        "variable": "papers",
        "max_length": 5,
        "allowed_file_types": ["custom"],
        "allowed_file_extensions": [".JSON"],
        "allowed_file_upload_methods": ["local_file"],
    }
    form = [{"file": single}, {"file-list": several}, {"text-input": {"variable": "note"}}]

    profile = read_parameters(AppProfile("workflow"), {"user_input_form": form})

    assert [field.files for field in profile.form or ()] == [
        FileRules(frozenset({"image"}), most=1),
        FileRules(frozenset({"custom"}), frozenset({"json"}), frozenset({"local_file"}), 5),
        FileRules(),
    ]


@pytest.mark.parametrize(
    ("system_parameters", "limits"),
    [
        (
            {
                "image_file_size_limit": 10,
                "video_file_size_limit": 100,
                "audio_file_size_limit": 50,
                "file_size_limit": 15,
                "workflow_file_upload_limit": 10,
            },
            {"image": 10 << 20, "video": 100 << 20, "audio": 50 << 20, "document": 15 << 20},
        ),
        ({"image_file_size_limit": "10", "file_size_limit": 0}, {"image": 10 << 20}),
        (None, {}),
    ],
    ids=["0.15.3 and 1.12.1", "text, and nothing", "absent"],
)
def test_sizes_are_limited_by_type(system_parameters: object, limits: dict[str, int]) -> None:
    assert read_size_limits(system_parameters) == limits
