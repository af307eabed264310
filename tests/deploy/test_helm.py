"""The chart is made from the kustomize base, and says the same. Helm itself was never run on it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from deploy.helm.make_chart import CHART, chart_files
from opendify.settings import SETTINGS
from tests.deploy.helm_templates import render
from tests.deploy.manifests import KUBERNETES, Manifest, built, the

DEFAULTS: Final[Mapping[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
ON: Final = {"enabled": True}

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def rendered(release: str = "opendify", **changes: object) -> list[dict[str, Any]]:
    """All objects of the chart."""
    values = {**DEFAULTS, **changes}
    jsonschema.validate(values, SCHEMA)
    texts = [
        render(file.read_text(), values=values, release=release) for file in (CHART / "templates").iterdir()
    ]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def by_name(manifests: list[dict[str, Any]] | tuple[Manifest, ...]) -> dict[tuple[str, str], Manifest]:
    """What differs by design is left out: kustomize puts the settings' digest in a name."""
    text = json.dumps(manifests)
    for each in manifests:
        if each["kind"] == "ConfigMap":
            text = text.replace(each["metadata"]["name"], "opendify-settings")
    found = {(each["kind"], each["metadata"]["name"]): each for each in json.loads(text)}
    found["Deployment", "opendify"]["spec"]["template"]["metadata"].pop("annotations", None)
    return found


def test_the_chart_is_the_one_that_the_base_makes() -> None:
    made = dict(chart_files())

    assert {path: (CHART / path).read_text() for path in made} == made
    files = {str(file.relative_to(CHART)) for file in CHART.rglob("*") if file.is_file()}
    assert files == {*made, "values.schema.json"}


@needs_kubectl
def test_the_chart_renders_to_what_kustomize_builds() -> None:
    assert by_name(rendered()) == by_name(built(KUBERNETES / "base"))


@needs_kubectl
@pytest.mark.parametrize(
    ("component", "changes"),
    [
        ("autoscaling", {"autoscaling": "hpa"}),
        ("keda", {"autoscaling": "keda"}),
        ("monitoring", {"monitoring": ON}),
        ("redis", {"redis": ON}),
    ],
)
def test_each_component_is_a_value(component: str, changes: Mapping[str, Any], tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "overlays" / "test"
    folder.mkdir()
    wanted = {"resources": ["../../base"], "components": [f"../../components/{component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))

    assert by_name(rendered(**changes)) == by_name(built(folder))


def test_an_ingress_is_a_value_too() -> None:
    ingress = the(tuple(rendered(ingress={**DEFAULTS["ingress"], **ON, "host": "ai.example"})), "Ingress")

    assert ingress["spec"]["rules"][0]["host"] == "ai.example"
    assert ingress["spec"]["tls"] == [{"hosts": ["ai.example"], "secretName": "opendify-tls"}]


def test_two_releases_share_nothing() -> None:
    on = {"redis": ON, "monitoring": ON, "autoscaling": "hpa", "ingress": {**DEFAULTS["ingress"], **ON}}
    one, other = ({(m["kind"], m["metadata"]["name"]) for m in rendered(name, **on)} for name in ("a", "b"))

    assert len(one) == 11
    assert one & other == set()
    deployment = the(tuple(rendered("a")), "Deployment", "a")
    assert deployment["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "a"}


def test_a_changed_setting_rolls_the_pods() -> None:
    def digest(**settings: str) -> object:
        deployment = the(tuple(rendered(settings=settings)), "Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]

    assert digest(LOG_LEVEL="info") == digest(LOG_LEVEL="info") != digest(LOG_LEVEL="debug")


@pytest.mark.parametrize(
    "wrong",
    [
        {"replica": 3},
        {"image": {"repository": "opendify"}},
        {"settings": {"LOG_LEVEL": 3}},
        {"settings": {"log_level": "info"}},
        {"autoscaling": "yes"},
        {"ingress": {"enabled": "true"}},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(wrong: Mapping[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**DEFAULTS, **wrong}, SCHEMA)


def test_the_settings_are_ours() -> None:
    assert set(DEFAULTS["settings"]) <= {variable for setting in SETTINGS for variable in setting.variables}
