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
    assert not (FILE.parent / "grafana_admin_password").exists()
