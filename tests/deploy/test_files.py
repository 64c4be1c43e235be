"""The examples in ``deploy/`` are what the programs that read them want."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # the library has no types
import pytest
import trustme

from entrepot.config import FIELDS, load, variable_of
from tests.deploy.places import DEPLOY, MANIFESTS, SETTINGS_FILES, load_yaml, resource, resources_of
from tests.deploy.proxies import Haproxy, LoadBalancer, Nginx
from tests.services.program import find_program

REPLICAS = ("127.0.0.1:5001", "127.0.0.1:5002", "127.0.0.1:5003")
SECRETS = {"POSTGRES_PASSWORD": "p", "S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s"}
VARIABLES = {variable_of(key) for key in FIELDS} | {"ENTREPOT_CONFIG"}
EXAMPLES = sorted(file for file in DEPLOY.rglob("*") if file.is_file() and not file.name.startswith(".env"))


def id_of(file: Path) -> str:
    return str(file.relative_to(DEPLOY))


def run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    return subprocess.run(command, env=path | (environment or {}), capture_output=True, text=True, timeout=60)


@pytest.mark.interop
@pytest.mark.parametrize("kind", [Haproxy, Nginx])
def test_accepts_configuration_of_load_balancer_as_it_is(kind: type[LoadBalancer], tmp_path: Path) -> None:
    balancer = kind(tmp_path, REPLICAS)
    checked = run(balancer.check_command(), balancer.environment)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower(), checked.stderr


@pytest.mark.interop
def test_accepts_haproxy_configuration_without_environment() -> None:
    checked = run([find_program("haproxy"), "-c", "-f", str(DEPLOY / "haproxy.cfg")])
    assert checked.returncode == 0, checked.stderr


@pytest.mark.interop
@pytest.mark.parametrize("missing", ["REGISTRY_PULL_PASSWORD", "REGISTRY_PUSH_PASSWORD"])
def test_refuses_haproxy_with_tls_when_a_password_is_missing(missing: str, tmp_path: Path) -> None:
    certificate = tmp_path / "registry.pem"
    trustme.CA().issue_cert("registry.example.com").private_key_and_cert_chain_pem.write_to_path(certificate)
    passwords = {"REGISTRY_PULL_PASSWORD": "a", "REGISTRY_PUSH_PASSWORD": "b", "REGISTRY_CERTIFICATE": str(certificate)}
    balancer = Haproxy(tmp_path, REPLICAS, passwords)
    complete = run(balancer.check_command(), balancer.environment)
    assert complete.returncode == 0, complete.stderr
    lacking = run(balancer.check_command(), {k: v for k, v in balancer.environment.items() if k != missing})
    assert lacking.returncode == 1
    assert "have to be set" in lacking.stderr


@pytest.mark.interop
def test_accepts_compose_file_with_the_secrets_of_its_example(tmp_path: Path) -> None:
    named = {line.partition("=")[0] for line in (DEPLOY / ".env.example").read_text().splitlines() if "=" in line}
    named -= {line for line in named if line.startswith("#")}
    assert named == set(SECRETS)
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    command = [*_compose(), "--env-file", str(tmp_path / "env"), "-f", str(DEPLOY / "compose.yaml"), "config"]
    checked = run(command)
    assert checked.returncode == 0, checked.stderr
    assert "Unsupported" not in checked.stderr


@pytest.mark.interop
@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_refuses_compose_file_when_a_secret_is_empty(missing: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("".join(f"{name}={value * (name != missing)}\n" for name, value in SECRETS.items()))
    checked = run([*_compose(), "--env-file", str(tmp_path / "env"), "-f", str(DEPLOY / "compose.yaml"), "config"])
    assert checked.returncode != 0
    assert "put it into .env" in checked.stderr


def _compose() -> list[str]:
    """Compose by itself, or as a part of docker."""
    plugin = shutil.which("docker") and run(["docker", "compose", "version"]).returncode == 0
    return ["docker", "compose"] if plugin else [find_program("docker-compose")]


def test_mounts_files_in_compose_that_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    files = [DEPLOY / name for name in mounted if name.startswith("./")]
    assert len(files) == 4  # the settings of three replicas, and HAProxy's
    assert all(file.is_file() for file in files)


def test_grants_replicas_in_compose_the_time_they_need_to_stop() -> None:
    server = load(DEPLOY / "entrepot.toml").server
    replica = load_yaml(DEPLOY / "compose.yaml")["services"]["replica1"]
    assert _seconds(replica["stop_grace_period"]) >= server.drain_seconds + server.graceful_stop_seconds + 5


def test_drains_longer_than_haproxy_takes_to_notice() -> None:
    [line] = re.findall(r"^ +default-server (.+)", (DEPLOY / "haproxy.cfg").read_text(), re.MULTILINE)
    words = line.split()
    inter, fastinter = (_seconds(words[words.index(name) + 1]) for name in ("inter", "fastinter"))
    notices = inter + (int(words[words.index("fall") + 1]) - 1) * fastinter
    assert load(DEPLOY / "entrepot.toml").server.drain_seconds > notices + 1


def _seconds(text: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m)", text))


@pytest.mark.parametrize("file", MANIFESTS, ids=id_of)
def test_describes_kubernetes_resources_by_their_schema(file: Path) -> None:
    for found in resources_of(file):
        kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


def test_refuses_kubernetes_resource_with_a_mistyped_key() -> None:
    broken = resource("Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("file", SETTINGS_FILES, ids=id_of)
def test_accepts_settings_file(file: Path) -> None:
    checked = run([sys.executable, "-m", "entrepot", "config", "check", "--config", str(file)])
    assert (checked.returncode, checked.stdout) == (0, "ok\n"), checked.stderr


@pytest.mark.parametrize("file", EXAMPLES, ids=id_of)
def test_names_only_settings_that_exist(file: Path) -> None:
    text = file.read_text("utf-8")
    assert set(re.findall(r"\bENTREPOT_[A-Z0-9_]*[A-Z0-9]\b", text)) <= VARIABLES
    sections = "|".join({key.partition(".")[0] for key in FIELDS if "." in key})
    files = re.compile(r"\b\w+\.(?:cfg|yaml|toml|template|pem)\b")
    assert set(re.findall(rf"(?<![\w.-])(?:{sections})\.[a-z0-9_]+", files.sub("", text))) <= set(FIELDS)
