"""Makes the Helm chart from the files of `deploy/kubernetes`, so that both say the same.

Run it as `python deploy/helm/make_chart.py` after a change there. A template is a manifest with some of its
lines replaced.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

_PROJECT: Final = Path(__file__).resolve().parents[2]
_KUBERNETES: Final = _PROJECT / "deploy/kubernetes"
_DEPLOYMENT: Final = "base/deployment.yaml"
CHART: Final = _PROJECT / "deploy/helm/opendify"

_MARK: Final = "# Made by deploy/helm/make_chart.py from deploy/kubernetes/{}.\n"
_OWN_NAME: Final = re.compile(r"^(\s*(?:app\.kubernetes\.io/)?name: )opendify\b", re.MULTILINE)
_RELEASE: Final = r"\g<1>{{ .Release.Name }}"
_LABELS: Final = "  labels:\n    app.kubernetes.io/name: {{ .Release.Name }}\n"

_SETTINGS: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
  labels:
    app.kubernetes.io/name: {{ .Release.Name }}
data:
  {{- range $name, $value := .Values.settings }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
"""

_VALUES: Final = """\
image:
  repository: {repository}
  # For production a version, never one that moves.
  tag: {tag}

# Without an autoscaler.
replicas: {replicas}
# none, hpa (needs the custom metrics API) or keda (needs KEDA).
autoscaling: none
minReplicas: 2
maxReplicas: 10

# Every setting of the README may stand here, but no secret: these are readable for many.
settings:
{settings}
# A Secret with the files that the settings name, as in
# deploy/kubernetes/overlays/production/secret.example.yaml.
secretName: opendify

# preStop (15) + GUNICORN_GRACEFUL_TIMEOUT (120) + 15, so that running answers may finish.
terminationGracePeriodSeconds: {grace}

# No limit on processor time: a throttled worker stalls every stream that it holds.
resources:
{resources}
networkPolicy:
  enabled: true

ingress:
  enabled: false
  className: nginx
  host: opendify.example.com
  tlsSecretName: opendify-tls

# A Redis for clusters that have none.
redis:
  enabled: false

# Needs the Prometheus operator, and a Secret RELEASE-metrics with the key `token`.
monitoring:
  enabled: false
"""


@dataclass(frozen=True)
class _Template:
    """A manifest, what is replaced in it, and when it is wanted at all."""

    source: str
    changes: Mapping[str, str]
    wanted_if: str = ""
    labelled: bool = False

    def render(self) -> str:
        text = (_KUBERNETES / self.source).read_text(encoding="utf-8")
        for old, new in self.changes.items():
            if old not in text:
                raise ValueError(f"{self.source} no longer has {old!r}")
            text = text.replace(old, new)
        if self.labelled:
            text = re.sub(r"^metadata:\n  name: .*\n", rf"\g<0>{_LABELS}", text, flags=re.MULTILINE)
        text = _OWN_NAME.sub(_RELEASE, text)
        if self.wanted_if:
            text = f"{{{{- if {self.wanted_if} }}}}\n{text}{{{{- end }}}}\n"
        return _MARK.format(self.source) + text


def _source(name: str) -> str:
    return (_KUBERNETES / name).read_text(encoding="utf-8")


def _resources() -> str:
    """The lines of the deployment's block, as they are indented there."""
    (block,) = re.findall(r"^ {10}resources:\n((?: {12}.*\n)+)", _source(_DEPLOYMENT), re.MULTILINE)
    return str(block)


def _templates() -> Mapping[str, _Template]:
    bounds = {"minReplica{}: 2": "minReplicas", "maxReplica{}: 10": "maxReplicas"}
    hpa, keda = (
        {
            old.format(form): f"{old.format(form).partition(':')[0]}: {{{{ .Values.{value} }}}}"
            for old, value in bounds.items()
        }
        for form in ("s", "Count")
    )
    return {
        "deployment": _Template(_DEPLOYMENT, _deployment_changes(), labelled=True),
        "service": _Template("base/service.yaml", {}, labelled=True),
        "disruption-budget": _Template("base/disruption-budget.yaml", {}, labelled=True),
        "network-policy": _Template(
            "base/network-policy.yaml", {}, wanted_if=".Values.networkPolicy.enabled", labelled=True
        ),
        "autoscaler": _Template(
            "components/autoscaling/autoscaler.yaml", hpa, wanted_if='eq .Values.autoscaling "hpa"'
        ),
        "scaled-object": _Template(
            "components/keda/scaled-object.yaml", keda, wanted_if='eq .Values.autoscaling "keda"'
        ),
        "service-monitor": _Template(
            "components/monitoring/service-monitor.yaml", {}, wanted_if=".Values.monitoring.enabled"
        ),
        "redis": _Template(
            "components/redis/redis.yaml",
            {"serviceName: opendify-redis": "serviceName: {{ .Release.Name }}-redis"},
            wanted_if=".Values.redis.enabled",
        ),
        "ingress": _Template(
            "overlays/production/ingress.yaml",
            {
                "ingressClassName: nginx": "ingressClassName: {{ .Values.ingress.className }}",
                "opendify.example.com": "{{ .Values.ingress.host }}",
                "secretName: opendify-tls": "secretName: {{ .Values.ingress.tlsSecretName }}",
            },
            wanted_if=".Values.ingress.enabled",
        ),
    }


def _deployment_changes() -> Mapping[str, str]:
    deployment = yaml.safe_load(_source(_DEPLOYMENT))["spec"]
    grace = deployment["template"]["spec"]["terminationGracePeriodSeconds"]
    return {
        f"  replicas: {deployment['replicas']}\n": (
            '  {{- if eq .Values.autoscaling "none" }}\n  replicas: {{ .Values.replicas }}\n  {{- end }}\n'
        ),
        "  template:\n    metadata:\n": (
            "  template:\n"
            "    metadata:\n"
            "      annotations:\n"
            "        # A changed setting rolls the pods.\n"
            "        checksum/settings: {{ toYaml .Values.settings | sha256sum }}\n"
        ),
        "image: opendify:latest": "image: {{ .Values.image.repository }}:{{ .Values.image.tag }}",
        "secretName: opendify": "secretName: {{ .Values.secretName }}",
        f"terminationGracePeriodSeconds: {grace}": (
            "terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}"
        ),
        _resources(): "            {{- toYaml .Values.resources | nindent 12 }}\n",
    }


def _values() -> str:
    deployment = yaml.safe_load(_source(_DEPLOYMENT))["spec"]
    pod = deployment["template"]["spec"]
    repository, _, tag = pod["containers"][0]["image"].partition(":")
    pairs = [line.split("=", maxsplit=1) for line in _source("base/settings.env").splitlines() if line]
    return _VALUES.format(
        repository=repository,
        tag=tag,
        replicas=deployment["replicas"],
        settings="".join(f'  {name}: "{value}"\n' for name, value in pairs),
        grace=pod["terminationGracePeriodSeconds"],
        resources=re.sub(r"^ {10}", "", _resources(), flags=re.MULTILINE),
    )


def _chart() -> str:
    project = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return (
        "apiVersion: v2\n"
        f"name: {project['name']}\n"
        f"description: {project['description']}\n"
        "type: application\n"
        f"version: {project['version']}\n"
        f'appVersion: "{project["version"]}"\n'
        'kubeVersion: ">=1.25.0-0"\n'
    )


def chart_files() -> Iterator[tuple[str, str]]:
    """What is made: a path in the chart, and its text."""
    yield "Chart.yaml", _chart()
    yield "values.yaml", _MARK.format("base") + _values()
    yield "templates/settings.yaml", _MARK.format("base/settings.env") + _SETTINGS
    for name, template in _templates().items():
        yield f"templates/{name}.yaml", template.render()


if __name__ == "__main__":
    for path, text in chart_files():
        file = CHART / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
