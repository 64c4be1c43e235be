"""The manifests for Kubernetes fit together, and fit the settings they carry."""

from __future__ import annotations

import pytest

from entrepot.config import load
from tests.deploy.places import KUBERNETES, MANIFESTS, load_yaml, resource, resources

SETTINGS = load(KUBERNETES / "entrepot.toml")
POD = resource("Deployment")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


def test_lists_every_manifest_in_kustomization() -> None:
    listed = load_yaml(KUBERNETES / "kustomization.yaml")["resources"]
    assert sorted(listed) == [file.name for file in MANIFESTS]


def test_selects_the_pods_of_the_deployment_everywhere() -> None:
    labels = POD["metadata"]["labels"]
    assert resource("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert resource("Service")["spec"]["selector"] == labels
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    spread = POD["spec"]["topologySpreadConstraints"]
    assert all(constraint["labelSelector"]["matchLabels"] == labels for constraint in spread)


def test_refers_to_what_is_there() -> None:
    names = {(found["kind"], found["metadata"]["name"]) for found in resources()}
    names |= {
        ("ConfigMap", made["name"]) for made in load_yaml(KUBERNETES / "kustomization.yaml")["configMapGenerator"]
    }
    ingress = resource("Ingress")
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    wanted = {("Secret", source["secretRef"]["name"]) for source in CONTAINER["envFrom"]}
    wanted |= {("ConfigMap", v["configMap"]["name"]) for v in POD["spec"]["volumes"] if "configMap" in v}
    wanted |= {("Secret", ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-secret"])}
    wanted |= {("Service", path["backend"]["service"]["name"]) for path in paths}
    wanted |= {("Deployment", resource("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"])}
    wanted |= {("ServiceAccount", POD["spec"]["serviceAccountName"])}
    assert wanted <= names


def test_mounts_settings_where_the_server_looks_for_them() -> None:
    mounted = next(mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] == "config")
    assert {"name": "ENTREPOT_CONFIG", "value": f"{mounted}/entrepot.toml"} in CONTAINER["env"]


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_the_port_that_the_server_listens_on(probe: str) -> None:
    assert CONTAINER[probe]["httpGet"]["port"] == "http"
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": SETTINGS.server.port}]
    assert SETTINGS.server.host == "0.0.0.0"


def test_grants_pods_the_time_they_need_to_stop() -> None:
    grace = POD["spec"]["terminationGracePeriodSeconds"]
    needed = SETTINGS.server.drain_seconds + SETTINGS.server.graceful_stop_seconds
    assert grace >= needed + 5  # seconds until the processes are gone


def test_serves_on_until_nodes_and_ingress_have_learned_that_a_pod_goes() -> None:
    assert SETTINGS.server.drain_seconds >= 10  # some seconds, as a rule
    assert "lifecycle" not in CONTAINER  # or it would wait twice


def test_stays_ready_longer_than_a_request_waits_for_the_database() -> None:
    probe = CONTAINER["readinessProbe"]
    waits = max(SETTINGS.postgresql.wait_seconds, SETTINGS.s3.wait_seconds)
    assert probe["periodSeconds"] * probe["failureThreshold"] > waits


def test_never_routes_metrics_to_the_world() -> None:
    paths = [path["path"] for rule in resource("Ingress")["spec"]["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/v2", "/v1/search"]


def test_leaves_the_number_of_replicas_to_the_autoscaler() -> None:
    assert "replicas" not in resource("Deployment")["spec"]  # each apply would put it back, under load as well
    assert resource("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3
