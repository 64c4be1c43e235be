"""``entrepot copy`` between a docker engine, another registry, and the layouts and archives of skopeo."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.images import build_artifact, build_image, build_index, write_layout

from .clients import CommandLine, private_environment
from .docker import Docker, socket_url
from .entrepot_client import EntrepotClient
from .peers import DockerRegistry, Registry
from .skopeo import TO_HTTP, Skopeo
from .wire import manifest_digest

pytestmark = pytest.mark.interop


def command(environment: dict[str, str]) -> CommandLine:
    return CommandLine([sys.executable, "-m", "entrepot"], environment=environment)


@pytest.fixture
def client(tmp_path: Path) -> EntrepotClient:
    return EntrepotClient(tmp_path)


@pytest.fixture(scope="session")
def distribution(workspace: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(workspace / "distribution") as registry:
        yield registry


class TestEngine:
    pytestmark = pytest.mark.root

    @pytest.fixture
    def ours(self, docker: Docker, workspace: Path, tmp_path: Path) -> CommandLine:
        """Our command as a user of the engine has it; nothing is in its image store."""
        environment = private_environment(tmp_path) | {"DOCKER_HOST": socket_url(workspace / "docker")}
        return command({**environment, "ENTREPOT_ROOT": str(tmp_path / "images")})

    def test_copy_from_engine_to_registry_keeps_the_id(
        self, ours: CommandLine, docker: Docker, name: str, seed: int
    ) -> None:
        image = build_image(3, seed=seed)
        docker.load(image, "local/app:v1")
        digest = ours.run("copy", "-q", "docker-daemon:local/app:v1", name).strip()
        assert manifest_digest(name) == digest
        assert ours.run("inspect", "--remote", "--format", "{{.Id}}", name).strip() == image.id
        docker.remove("local/app:v1")
        docker.pull(name).checked()
        assert docker.image_id(name) == image.id

    def test_copy_from_registry_to_engine_loads_it_under_its_name(
        self, ours: CommandLine, docker: Docker, skopeo: Skopeo, name: str, seed: int
    ) -> None:
        image = build_image(3, seed=seed)
        skopeo.load(image, name)
        skopeo.push(name).checked()
        assert ours.run("copy", "-q", name, "docker-daemon:here/app:v7") == f"{image.digest}\n"
        assert docker.image_id("here/app:v7") == image.id

    def test_copy_of_an_index_to_engine_takes_this_computer_s_image(
        self, ours: CommandLine, docker: Docker, tmp_path: Path, seed: int
    ) -> None:
        index = build_index(["linux/s390x", "linux/amd64", "linux/arm64", "linux/arm/v7"], seed=seed)
        write_layout(tmp_path / "layout", {"v1": index})
        digest = ours.run("copy", "-q", f"oci:{tmp_path}/layout:v1", "docker-daemon:multi/app:v1").strip()
        [child] = [child for child in index.children if child.digest == digest]
        assert docker.image_id("multi/app:v1") == child.id

    def test_copy_through_engine_and_back_gives_the_same_layers(
        self, ours: CommandLine, docker: Docker, tmp_path: Path, seed: int
    ) -> None:
        image = build_image(2, seed=seed)
        write_layout(tmp_path / "layout", {"v1": image})
        ours.run("copy", "-q", f"oci:{tmp_path}/layout:v1", "docker-daemon:round/trip:v1")
        ours.run("copy", "-q", "docker-daemon:round/trip:v1", "store:round/trip:v1")
        assert ours.run("images", "-q", "--no-trunc").split() == [image.id]

    def test_copy_without_clobbering_leaves_the_engine_s_image(
        self, ours: CommandLine, docker: Docker, tmp_path: Path, seed: int
    ) -> None:
        first, second = build_image(1, seed=seed), build_image(1, seed=seed + 1)
        docker.load(first, "kept/app:v1")
        write_layout(tmp_path / "layout", {"v1": second})
        done = ours.try_run("copy", "--no-clobber", f"oci:{tmp_path}/layout:v1", "docker-daemon:kept/app:v1")
        assert (done.status, done.stdout) == (0, "")
        assert f"docker-daemon:kept/app:v1 is there already ({first.id})" in done.stderr
        assert docker.image_id("kept/app:v1") == first.id

    def test_copy_of_image_that_the_engine_lacks_is_not_found(self, ours: CommandLine, name: str) -> None:
        done = ours.try_run("copy", "docker-daemon:no/such:v1", name)
        assert (done.status, done.stdout) == (2, "")
        assert "No such image: no/such:v1" in done.stderr


def test_copy_without_engine_says_where_it_was_looked_for(tmp_path: Path) -> None:
    environment = private_environment(tmp_path) | {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = command(environment).try_run("copy", "docker-daemon:app:v1", "store:app:v1")
    assert (done.status, done.stdout) == (1, "")
    assert f"cannot reach the docker engine at unix://{tmp_path}/none.sock" in done.stderr
    assert "DOCKER_HOST names another one" in done.stderr


@pytest.mark.parametrize("host", ["ssh://me@example.com", "tcp://", "npipe:////./pipe/docker", "nonsense"])
def test_copy_with_an_engine_out_of_reach_is_refused(tmp_path: Path, host: str) -> None:
    environment = private_environment(tmp_path) | {"DOCKER_HOST": host}
    done = command(environment).try_run("copy", "docker-daemon:app:v1", "store:app:v1")
    assert (done.status, done.stdout) == (1, "")
    assert "expected DOCKER_HOST to be unix:///PATH or tcp://HOST:PORT" in done.stderr


class TestDistribution:
    """The same against CNCF distribution, which has neither a list of referrers nor some answers of ours."""

    def test_copy_there_within_it_and_back_keeps_digests(
        self, client: EntrepotClient, distribution: DockerRegistry, tmp_path: Path, path: str, seed: int
    ) -> None:
        index = build_index(seed=seed)
        write_layout(tmp_path / "layout", {"v1": index})
        there = f"{distribution.host}/{path}"
        assert client.cli.run("copy", "-q", f"oci:{tmp_path}/layout", there) == f"{index.digest}\n"
        shown = client.cli.run("copy", "--progress", "plain", f"{there}:v1", f"{there}-new:v1").splitlines()
        assert sum(f"Mounted from {path}" in line for line in shown) == 4
        assert client.cli.run("copy", "-q", f"{there}-new:v1", f"oci-archive:{tmp_path}/a.tar") == f"{index.digest}\n"
        assert client.cli.run("ls", f"{there}-new") == "v1\n"
        assert f"{path}-new" in client.cli.run("catalog", distribution.host).splitlines()
        assert client.cli.run("digest", f"{there}:v1") == f"{index.digest}\n"

    def test_attach_keeps_the_list_under_a_tag(
        self, client: EntrepotClient, distribution: DockerRegistry, tmp_path: Path, path: str, seed: int
    ) -> None:
        image = build_image(seed=seed)
        write_layout(tmp_path / "layout", {"v1": image})
        there = f"{distribution.host}/{path}:v1"
        client.cli.run("copy", "-q", f"oci:{tmp_path}/layout", there)
        (tmp_path / "sbom").write_text("it is all there")
        digest = client.cli.run("attach", there, "--type", "application/vnd.test", tmp_path / "sbom").strip()
        other = client.cli.run("attach", there, "--type", "application/vnd.other").strip()
        listed = client.cli.run("referrers", "--format", "{{.Digest}}", there).split()
        assert sorted(listed) == sorted([digest, other])
        assert client.cli.run("referrers", "--type", "application/vnd.other", "--format", "{{.Digest}}", there) == (
            f"{other}\n"
        )
        client.cli.run("copy", "-q", "--referrers", there, f"oci:{tmp_path}/back")
        names = {entry["digest"] for entry in json.loads((tmp_path / "back" / "index.json").read_text())["manifests"]}
        assert {image.digest, digest, other} <= names

    def test_remove_tag_takes_the_image_only_when_nobody_else_names_it(
        self, client: EntrepotClient, distribution: DockerRegistry, tmp_path: Path, path: str, seed: int
    ) -> None:
        write_layout(tmp_path / "layout", {"v1": build_image(seed=seed), "w": build_image(seed=seed + 1)})
        there = f"{distribution.host}/{path}"
        client.cli.run("copy", "-q", "--all-tags", f"oci:{tmp_path}/layout", there)
        client.cli.run("copy", "-q", f"{there}:v1", f"{there}:v2")
        removed = client.cli.run("rm", "--remote", "-f", f"{there}:w").splitlines()
        assert removed[0] == f"Untagged: {there}:w"
        assert client.cli.run("ls", there) == "v1\nv2\n"
        done = client.cli.try_run("rm", "--remote", "-f", f"{there}@{build_image(seed=seed).digest}").checked()
        assert done.stdout.splitlines()[:2] == [f"Untagged: {there}:v1", f"Untagged: {there}:v2"]
        assert client.cli.run("ls", there) == ""

    def test_search_looks_through_the_catalog(
        self, client: EntrepotClient, distribution: DockerRegistry, tmp_path: Path, path: str, seed: int
    ) -> None:
        write_layout(tmp_path / "layout", {"v1": build_image(seed=seed)})
        client.cli.run("copy", "-q", f"oci:{tmp_path}/layout", f"{distribution.host}/{path}")
        found = client.cli.run("search", "--format", "{{.Name}}", f"{distribution.host}/{path}").split()
        assert found == [f"{distribution.host}/{path}"]


class TestSkopeo:
    @pytest.mark.parametrize("form", ["oci:{}/x:v1", "oci-archive:{}/x.tar:v1"])
    def test_skopeo_reads_what_copy_writes_and_back(
        self, client: EntrepotClient, skopeo: Skopeo, tmp_path: Path, name: str, seed: int, form: str
    ) -> None:
        index = build_index(seed=seed)
        write_layout(tmp_path / "layout", {"v1": index})
        ours, theirs = form.format(tmp_path), form.format(f"{tmp_path}/theirs")
        (tmp_path / "theirs").mkdir()
        client.cli.run("copy", "-q", f"oci:{tmp_path}/layout", ours)
        skopeo.cli.run("copy", "--all", TO_HTTP, ours, f"docker://{name}")
        assert manifest_digest(name) == index.digest
        skopeo.cli.run("copy", "--all", "--src-tls-verify=false", f"docker://{name}", theirs)
        assert client.cli.run("copy", "-q", theirs, "store:back:v1") == f"{index.digest}\n"

    def test_skopeo_reads_docker_archive_of_copy(
        self, client: EntrepotClient, skopeo: Skopeo, tmp_path: Path, seed: int
    ) -> None:
        image = build_image(seed=seed)
        write_layout(tmp_path / "layout", {"v1": image})
        client.cli.run("copy", "-q", f"oci:{tmp_path}/layout", f"docker-archive:{tmp_path}/x.tar:some/app:v1")
        config = skopeo.cli.run("inspect", "--config", "--raw", f"docker-archive:{tmp_path}/x.tar:some/app:v1")
        assert config.encode() == image.config.data

    def test_copy_reads_docker_archive_of_skopeo(
        self, client: EntrepotClient, skopeo: Skopeo, tmp_path: Path, name: str, seed: int
    ) -> None:
        image = build_image(seed=seed)
        write_layout(tmp_path / "layout", {"v1": image})
        skopeo.cli.run("copy", f"oci:{tmp_path}/layout:v1", f"docker-archive:{tmp_path}/x.tar:some/app:v1")
        client.cli.run("copy", "-q", f"docker-archive:{tmp_path}/x.tar:some/app:v1", "store:some/app:v1")
        assert client.image_id("some/app:v1") == image.id


def test_copy_takes_referrers_out_of_a_layout(client: EntrepotClient, tmp_path: Path, name: str, seed: int) -> None:
    image = build_image(seed=seed)
    artifact = build_artifact(b"signed", artifact_type="application/vnd.test", subject=image)
    write_layout(tmp_path / "layout", {"v1": image, "signature": artifact})
    client.cli.run("copy", "-q", "--referrers", f"oci:{tmp_path}/layout:v1", name)
    assert client.cli.run("referrers", "--format", "{{.Digest}}", name) == f"{artifact.digest}\n"


def test_sync_does_with_skopeo_s_list_what_skopeo_does(
    client: EntrepotClient, skopeo: Skopeo, registry: Registry, tmp_path: Path, path: str, seed: int
) -> None:
    one, two = build_image(1, seed=seed), build_index(seed=seed + 1)
    write_layout(tmp_path / "layout", {"1.0": one, "1.1": one, "2.0-alpine": two, "latest": two})
    source = f"{registry.host}/{path}/deep/app"
    client.cli.run("copy", "-q", "--all-tags", f"oci:{tmp_path}/layout", source)
    client.cli.run("copy", "-q", f"{source}:latest", f"{registry.host}/{path}/all:v1")
    file = tmp_path / "list.yaml"
    file.write_text(
        f"{registry.host}:\n"
        "  tls-verify: false\n"
        f"  images:\n    {path}/deep/app: ['1.0']\n    {path}/all: []\n"
        f"  images-by-tag-regex:\n    {path}/deep/app: alpine\n"
    )
    theirs, ours = f"{registry.host}/{path}/theirs", f"{registry.host}/{path}/ours"
    skopeo.cli.run("sync", "--all", "--dest-tls-verify=false", "--src", "yaml", "--dest", "docker", file, theirs)
    client.cli.run("sync", "-f", file, ours)
    for name in ("app", "all"):
        rows = client.cli.run("ls", "--digests", f"{theirs}/{name}")
        assert rows == client.cli.run("ls", "--digests", f"{ours}/{name}")
        assert len(rows.splitlines()) > 1
