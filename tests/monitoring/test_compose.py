"""The compose file beside the service brings no surprises along."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from opendify.settings import PROJECT_FOLDER

FILE = PROJECT_FOLDER / "deploy/monitoring/docker-compose.yml"
DOCUMENT: Mapping[str, Any] = yaml.safe_load(FILE.read_text())


def test_every_image_has_a_version() -> None:
    images = [service["image"] for service in DOCUMENT["services"].values()]

    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+$", image)] == []


def test_grafana_has_no_password_of_ours() -> None:
    grafana = DOCUMENT["services"]["grafana"]

    assert grafana["environment"] == {
        "GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana_admin_password"
    }


def test_secrets_lie_in_a_folder_that_no_commit_takes() -> None:
    files = [secret["file"] for secret in DOCUMENT["secrets"].values()]

    # Each is read by a container's own user, so that only the folder can keep others out.
    assert {file.rpartition("/")[0] for file in files} == {"./deploy/monitoring/secrets"}
    assert "deploy/monitoring/secrets/" in (PROJECT_FOLDER / ".gitignore").read_text().splitlines()
