"""The manifests are valid, and mean what they must; what an API server would find is looked for here too."""

import shutil
import warnings
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml

from opendify.settings import SETTINGS, load_server_settings, load_settings
from tests.deploy.manifests import (
    COMPONENTS,
    KUBERNETES,
    OVERLAYS,
    built,
    labels_of,
    of_kind,
    overlay,
    pod_selectors,
    pods,
    settings_of,
    the,
)

# Kinds of extensions, for which there is no schema here.
WITHOUT_SCHEMA = {"ScaledObject", "ServiceMonitor"}
KUBERNETES_VERSION = "1.32"

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
each_overlay = pytest.mark.parametrize("name", OVERLAYS)


@each_overlay
def test_every_object_has_the_shape_that_kubernetes_knows(name: str) -> None:
    for manifest in overlay(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kubernetes_validate.validate(dict(manifest), KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_can_be_added_to_the_base(name: str, tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "overlays" / "test"
    folder.mkdir()
    wanted = {"resources": ["../../base"], "components": [f"../../components/{name}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    manifests = built(folder)

    for manifest in manifests:
        if manifest["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(dict(manifest), KUBERNETES_VERSION, strict=True)
    autoscaled = name in {"autoscaling", "keda"}
    assert ("replicas" in the(manifests, "Deployment")["spec"]) is not autoscaled


@each_overlay
def test_every_selector_finds_pods(name: str) -> None:
    manifests = overlay(name)
    labels = [labels_of(template).items() for _, template in pods(manifests)]

    for manifest in manifests:
        for selector in pod_selectors(manifest):
            found = [each for each in labels if selector.items() <= each]
            assert len(found) == 1, (manifest["kind"], selector)


@each_overlay
def test_a_service_and_the_probes_name_ports_that_the_pods_have(name: str) -> None:
    manifests = overlay(name)
    container = the(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}

    assert {port["targetPort"] for port in the(manifests, "Service")["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


@each_overlay
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    for workload, template in pods(overlay(name)):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, workload
        assert pod["securityContext"]["runAsNonRoot"] is True, workload
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, workload
            assert rights["readOnlyRootFilesystem"] is True, workload
            assert rights["capabilities"] == {"drop": ["ALL"]}, workload


@each_overlay
def test_memory_is_limited_and_processor_time_is_not(name: str) -> None:
    for workload, template in pods(overlay(name)):
        for container in template["spec"]["containers"]:
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, workload
            assert set(resources["limits"]) == {"memory"}, workload


@each_overlay
def test_all_that_the_pods_may_write_to_is_a_volume(name: str) -> None:
    container = the(overlay(name), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}

    assert writable == {"/tmp", settings_of(overlay(name))["DATA_DIR"]}  # noqa: S108 - A mount's path.


def test_liveness_and_readiness_ask_different_things() -> None:
    container = the(overlay("production"), "Deployment")["spec"]["template"]["spec"]["containers"][0]

    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["livenessProbe"]["timeoutSeconds"] > 1
    assert container["livenessProbe"]["failureThreshold"] >= 3


def test_an_update_takes_no_pod_away_before_its_successor_is_ready() -> None:
    deployment = the(overlay("production"), "Deployment")["spec"]

    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["replicas"] >= 2
    assert the(overlay("production"), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_pod_may_take_as_long_to_end_as_its_answers() -> None:
    pod = the(overlay("production"), "Deployment")["spec"]["template"]["spec"]
    (command,) = (each["lifecycle"]["preStop"]["exec"]["command"] for each in pod["containers"])
    sleep_seconds = int(command[-1].rpartition("sleep ")[2])
    server = load_server_settings(settings_of(overlay("production")))

    assert pod["terminationGracePeriodSeconds"] > sleep_seconds + server.graceful_timeout_seconds


@each_overlay
def test_every_variable_is_a_setting(name: str) -> None:
    known = {variable for setting in SETTINGS for variable in setting.variables}

    assert set(settings_of(overlay(name))) <= known


def test_the_example_of_a_secret_has_every_file_that_the_settings_name() -> None:
    files = {
        PurePosixPath(path)
        for variable, path in settings_of(overlay("production")).items()
        if variable.endswith("_FILE")
    }
    example = yaml.safe_load((KUBERNETES / "overlays/production/secret.example.yaml").read_text())
    container = the(overlay("production"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "secrets")

    assert {str(path.parent) for path in files} == {mount["mountPath"]}
    assert {path.name for path in files} == set(example["stringData"])


def test_the_service_would_start_with_the_settings_and_the_example_of_a_secret(tmp_path: Path) -> None:
    example = yaml.safe_load((KUBERNETES / "overlays/production/secret.example.yaml").read_text())
    for name, text in example["stringData"].items():
        (tmp_path / name).write_text(text.replace("…", "made-up"))
    environ = {
        variable: text.replace("/run/secrets/opendify", str(tmp_path))
        for variable, text in settings_of(overlay("production")).items()
    }

    settings = load_settings(environ)

    assert [model.name for model in settings.models] == ["translator"]
    assert settings.conversation_store_url == "redis://opendify-redis:6379/0"
    assert settings.admin_api_key
    assert settings.api_keys


def test_no_secret_is_in_the_files_that_are_applied() -> None:
    assert not of_kind(overlay("production"), "Secret")
    assert "sk-" not in str(overlay("production"))


def test_the_store_is_reached_by_the_pods_alone() -> None:
    policy = the(overlay("production"), "NetworkPolicy", "opendify-redis")["spec"]

    assert policy["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "opendify"}}}],
            "ports": [{"port": "redis"}],
        }
    ]


def test_the_pods_may_be_asked_on_one_port_and_may_ask_only_what_they_need() -> None:
    policy = the(overlay("production"), "NetworkPolicy")["spec"]
    outward = [{port["port"] for port in rule["ports"]} for rule in policy["egress"]]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http"}]]
    # Names; Dify and a collector; Redis and PostgreSQL.
    assert outward == [{53}, {80, 443, 5001, 4318}, {5432, 6379}]


def test_the_overlays_differ_in_what_they_are_for() -> None:
    development, production = overlay("development"), overlay("production")
    differing = {
        name
        for name in {*settings_of(development), *settings_of(production)}
        if settings_of(development).get(name) != settings_of(production).get(name)
    }

    assert the(development, "Deployment")["spec"]["replicas"] == 1
    assert not of_kind(development, "Ingress")
    assert differing == {
        *("GUNICORN_WORKERS", "GUNICORN_GRACEFUL_TIMEOUT", "LOG_LEVEL"),
        *("AUTH_MODE", "API_KEYS_FILE", "ADMIN_API_KEY_FILE", "CONVERSATION_STORE_URL_FILE"),
    }
