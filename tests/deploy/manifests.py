"""What `kubectl kustomize` makes of the files in `deploy/kubernetes`."""

import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

PROJECT = Path(__file__).parents[2]
KUBERNETES = PROJECT / "deploy" / "kubernetes"
OVERLAYS = sorted(each.name for each in (KUBERNETES / "overlays").iterdir())
COMPONENTS = sorted(each.name for each in (KUBERNETES / "components").iterdir())

Manifest = Mapping[str, Any]


@cache
def built(folder: Path) -> tuple[Manifest, ...]:
    """All objects of one kustomization."""
    made = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    return tuple(yaml.safe_load_all(made.stdout))


def overlay(name: str) -> tuple[Manifest, ...]:
    """All objects of an overlay."""
    return built(KUBERNETES / "overlays" / name)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [each for each in manifests if each["kind"] == kind]


def the(manifests: tuple[Manifest, ...], kind: str, name: str = "opendify") -> Manifest:
    """The only object of this kind and name."""
    (found,) = (each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)
    return found


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """The name and the pod template of every workload."""
    for each in manifests:
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]


def labels_of(template: Manifest) -> Mapping[str, str]:
    """The labels that a workload's pods get."""
    return cast("Mapping[str, str]", template["metadata"]["labels"])


def pod_selectors(manifest: Manifest) -> Iterator[Mapping[str, str]]:
    """Every selector by which an object means this project's own pods."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Service":
            yield spec["selector"]
        case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
            yield spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
    for constraint in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", ()):
        yield constraint["labelSelector"]["matchLabels"]


def settings_of(manifests: tuple[Manifest, ...]) -> Mapping[str, str]:
    """The settings that the pods get as variables."""
    (settings,) = (
        each
        for each in of_kind(manifests, "ConfigMap")
        if each["metadata"]["name"].startswith("opendify-settings-")
    )
    return cast("Mapping[str, str]", settings["data"])
