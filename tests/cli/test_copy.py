"""``entrepot copy`` between every two places."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Literal

import pytest

from entrepot.cli.main import run
from entrepot.reference import ImageReference
from entrepot.testing.images import (
    Image,
    Index,
    build_artifact,
    build_image,
    build_index,
    write_docker_archive,
    write_layout,
)
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.cli.conftest import Entrepot, Publish
from tests.resume.cuts import CuttingProxy

INDEX = build_index(["linux/amd64", "linux/arm64"], seed=51)
IMAGE = build_image(2, seed=52)
OTHER = build_image(2, seed=53)


@pytest.fixture
def name() -> str:
    return f"team/copy-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def image(publish: Publish, name: str) -> ImageReference:
    return publish(IMAGE, name, "v1")


@pytest.fixture
def index(publish: Publish, name: str) -> ImageReference:
    return publish(INDEX, name, "multi")


def layout_tags(folder: Path) -> dict[str, str]:
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    return {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""): entry["digest"] for entry in entries
    }


def places(tmp_path: Path, registry: RegistryProcess) -> dict[str, str]:
    return {
        "registry": f"{registry.host}/other/{uuid.uuid4().hex[:8]}:v2",
        "store": "store:example.com/kept:v2",
        "layout": f"oci:{tmp_path}/layout:v2",
        "oci-archive": f"oci-archive:{tmp_path}/oci.tar:v2",
        "docker-archive": f"docker-archive:{tmp_path}/docker.tar:example.com/kept:v2",
    }


PLACES = ["registry", "store", "layout", "oci-archive", "docker-archive"]


class TestOne:
    @pytest.mark.parametrize("middle", PLACES)
    @pytest.mark.parametrize("content", [IMAGE, INDEX], ids=["image", "index"])
    def test_copy_there_and_back_keeps_the_digest(
        self,
        entrepot: Entrepot,
        publish: Publish,
        registry: RegistryProcess,
        tmp_path: Path,
        name: str,
        content: Image | Index,
        middle: str,
    ) -> None:
        source, back = str(publish(content, name, "v1")), f"{registry.host}/{name}-back:v1"
        place = places(tmp_path, registry)[middle]
        there = entrepot("copy", "--quiet", source, place)
        assert (there.code, there.out, there.err) == (0, f"{content.digest}\n", "")
        again = entrepot("copy", "--quiet", place, back)
        assert (again.code, again.out, again.err) == (0, f"{content.digest}\n", "")
        assert entrepot("digest", back).out == f"{content.digest}\n"
        assert entrepot("pull", "-q", "--all-platforms", back).code == 0

    @pytest.mark.parametrize("source", PLACES)
    @pytest.mark.parametrize("target", PLACES)
    def test_copy_between_any_two_places_keeps_the_digest(
        self,
        entrepot: Entrepot,
        registry: RegistryProcess,
        tmp_path: Path,
        image: ImageReference,
        source: str,
        target: str,
    ) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        first = places(tmp_path / "a", registry)[source]
        second = places(tmp_path / "b", registry)[target].replace("kept", "second")
        assert entrepot("copy", "-q", str(image), first).code == 0
        done = entrepot("copy", "-q", first, second)
        assert (done.code, done.out, done.err) == (0, f"{IMAGE.digest}\n", "")
        assert entrepot("copy", "-q", second, f"oci:{tmp_path}/check:v").out == f"{IMAGE.digest}\n"

    def test_copy_prints_states_and_then_the_digest(
        self, entrepot: Entrepot, image: ImageReference, tmp_path: Path
    ) -> None:
        done = entrepot("copy", "--progress", "plain", str(image), f"oci:{tmp_path}/layout")
        assert done.lines[-1] == IMAGE.digest
        states = {line.partition(": ")[2] for line in done.lines[:-1]}
        assert {"Preparing", "Copied"} <= states

    def test_copy_within_a_registry_mounts_the_layers(self, entrepot: Entrepot, image: ImageReference) -> None:
        done = entrepot("copy", "--progress", "plain", str(image), f"{image.name}-new:v1")
        mounted = [line for line in done.lines if "Mounted from" in line]
        assert [line.partition(": ")[2] for line in mounted] == [f"Mounted from {image.path}"] * len(IMAGE.layers)

    def test_copy_again_moves_nothing(self, entrepot: Entrepot, image: ImageReference, tmp_path: Path) -> None:
        entrepot("copy", str(image), f"oci:{tmp_path}/layout")
        done = entrepot("copy", "--progress", "plain", str(image), f"oci:{tmp_path}/layout")
        assert {line.partition(": ")[2] for line in done.lines[:-1]} == {"Preparing", "Already exists"}

    def test_copy_between_registries_makes_no_files(
        self, entrepot: Entrepot, image: ImageReference, store_root: Path
    ) -> None:
        assert entrepot("copy", "-q", str(image), f"{image.name}-new:v1").code == 0
        assert not store_root.exists()

    def test_copy_into_the_store_lists_the_image(self, entrepot: Entrepot, image: ImageReference) -> None:
        entrepot("copy", str(image), "store:app:v9")
        assert entrepot("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--no-trunc").lines == [
            f"app:v9 {IMAGE.id}"
        ]

    @pytest.mark.parametrize(
        ("source", "target", "tags"),
        [("v1", "", ["v1"]), ("v1", ":w", ["w"]), ("", "", ["latest"]), ("@", "", [""]), ("@", ":w", ["w"])],
        ids=["source's", "target's", "latest", "none", "digest to tag"],
    )
    def test_copy_tags_as_the_names_say(
        self,
        entrepot: Entrepot,
        publish: Publish,
        name: str,
        tmp_path: Path,
        source: str,
        target: str,
        tags: list[str],
    ) -> None:
        reference = publish(IMAGE, name, "v1", "latest")
        suffix = {"": "", "@": f"@{IMAGE.digest}"}.get(source, f":{source}")
        assert entrepot("copy", reference.name + suffix, f"oci:{tmp_path}/layout{target}").code == 0
        assert layout_tags(tmp_path / "layout") == dict.fromkeys(tags, IMAGE.digest)

    @pytest.mark.parametrize(("kept", "tags"), [({"v5": IMAGE}, ["v5"]), ({}, ["latest"])], ids=["its own", "latest"])
    def test_copy_of_the_only_image_of_a_layout_keeps_its_tag(
        self, entrepot: Entrepot, tmp_path: Path, kept: dict[str, Image], tags: list[str]
    ) -> None:
        write_layout(tmp_path / "layout", kept or {"": IMAGE})
        if not kept:
            index = tmp_path / "layout" / "index.json"
            document = json.loads(index.read_text())
            del document["manifests"][0]["annotations"]
            index.write_text(json.dumps(document))
        assert entrepot("copy", "-q", f"oci:{tmp_path}/layout", f"oci:{tmp_path}/new").code == 0
        assert list(layout_tags(tmp_path / "new")) == tags


class TestPlatforms:
    def test_copy_platform_takes_that_image_alone(
        self, entrepot: Entrepot, index: ImageReference, tmp_path: Path
    ) -> None:
        done = entrepot("copy", "-q", "--platform", "linux/arm64", str(index), f"{index.name}:arm")
        assert done.out == f"{INDEX.children[1].digest}\n"
        assert entrepot("digest", f"{index.name}:arm").out == done.out

    def test_copy_platform_that_is_not_there_names_those_that_are(
        self, entrepot: Entrepot, index: ImageReference, tmp_path: Path
    ) -> None:
        done = entrepot("copy", "--platform", "linux/s390x", str(index), f"oci:{tmp_path}/layout")
        assert (done.code, done.out) == (2, "")
        assert "linux/amd64, linux/arm64" in done.err

    def test_copy_part_of_an_index_to_a_registry_is_explained(self, entrepot: Entrepot, index: ImageReference) -> None:
        entrepot("pull", "-q", "--platform", "linux/arm64", str(index))
        done = entrepot("copy", f"store:{index}", f"{index.name}:again")
        assert (done.code, done.out) == (2, "")
        assert "only part of it is there: linux/arm64; missing: linux/amd64" in done.err
        assert "--platform linux/arm64" in done.err
        done = entrepot("copy", "-q", "--platform", "linux/arm64", f"store:{index}", f"{index.name}:again")
        assert (done.code, done.out) == (0, f"{INDEX.children[1].digest}\n")

    def test_copy_some_platforms_keeps_the_index_where_that_can_be(
        self, entrepot: Entrepot, publish: Publish, name: str, tmp_path: Path
    ) -> None:
        three = build_index(["linux/amd64", "linux/arm64", "linux/s390x"], seed=55)
        reference = publish(three, name, "v1")
        flags = ("-q", "--platform", "linux/amd64", "--platform", "linux/s390x", str(reference))
        kept = entrepot("copy", *flags, f"oci:{tmp_path}/layout")
        assert (kept.code, kept.out, kept.err) == (0, f"{three.digest}\n", "")
        assert not (tmp_path / "layout" / "blobs" / "sha256" / three.children[1].digest.encoded).exists()
        done = entrepot("copy", *flags, f"{reference.name}-some:v1")
        assert (done.code, done.out) == (1, "")
        assert "the registry takes the index only with all its images" in done.err
        assert "Hint: copy one platform alone" in done.err


class TestReferrers:
    @pytest.fixture
    def signed(self, publish: Publish, name: str, image: ImageReference) -> ImageReference:
        signature = build_artifact(b"signed", artifact_type="application/vnd.test.signature", subject=IMAGE)
        publish(signature, name, "a")
        publish(build_artifact(b"why", artifact_type="application/vnd.test.note", subject=signature), name, "b")
        publish(build_image(1, seed=54), name, f"sha256-{IMAGE.digest.encoded}.sig")
        return image

    @pytest.mark.parametrize("middle", PLACES[:4])
    def test_copy_with_referrers_takes_all_levels_along(
        self,
        entrepot: Entrepot,
        registry: RegistryProcess,
        signed: ImageReference,
        tmp_path: Path,
        middle: str,
    ) -> None:
        back = f"{signed.name}-back"
        place = places(tmp_path, registry)[middle]
        assert entrepot("copy", "--referrers", str(signed), place).code == 0
        assert entrepot("copy", "--referrers", place, f"{back}:v1").code == 0
        [found] = json.loads(entrepot("referrers", "--json", f"{back}:v1").out)["referrers"]
        assert found["artifactType"] == "application/vnd.test.signature"
        assert [note["artifactType"] for note in found["referrers"]] == ["application/vnd.test.note"]
        assert entrepot("ls", back).lines == [f"sha256-{IMAGE.digest.encoded}.sig", "v1"]

    def test_copy_without_referrers_leaves_them(self, entrepot: Entrepot, signed: ImageReference) -> None:
        assert entrepot("copy", str(signed), f"{signed.name}-bare:v1").code == 0
        assert json.loads(entrepot("referrers", "--json", f"{signed.name}-bare:v1").out)["referrers"] == []
        assert entrepot("ls", f"{signed.name}-bare").lines == ["v1"]


class TestAllTags:
    @pytest.fixture
    def repository(self, publish: Publish, name: str) -> ImageReference:
        publish(IMAGE, name, "1.0", "1.1")
        return publish(OTHER, name, "2.0")

    @pytest.mark.parametrize("target", ["{repository}-all", "store:all/tags", "oci:{folder}/layout"])
    def test_copy_all_tags_copies_each(
        self, entrepot: Entrepot, repository: ImageReference, tmp_path: Path, target: str
    ) -> None:
        place = target.format(repository=repository.name, folder=tmp_path)
        done = entrepot("copy", "-q", "--all-tags", repository.name, place)
        assert (done.code, done.err) == (0, "")
        assert done.lines == [f"1.0: {IMAGE.digest}", f"1.1: {IMAGE.digest}", f"2.0: {OTHER.digest}"]
        back = entrepot("copy", "-q", "--all-tags", place, f"oci:{tmp_path}/back")
        assert (back.code, set(layout_tags(tmp_path / "back"))) == (0, {"1.0", "1.1", "2.0"})

    def test_copy_all_tags_with_filter_takes_those(self, entrepot: Entrepot, repository: ImageReference) -> None:
        assert entrepot("copy", "--all-tags", "--filter", "1.*", repository.name, f"{repository.name}-some").code == 0
        assert entrepot("ls", f"{repository.name}-some").lines == ["1.0", "1.1"]

    def test_copy_all_tags_without_any_is_an_error(self, entrepot: Entrepot, repository: ImageReference) -> None:
        done = entrepot("copy", "--all-tags", "--filter", "9*", repository.name, f"{repository.name}-none")
        assert (done.code, done.out) == (1, "")
        assert "has no tag like that" in done.err

    def test_copy_all_tags_without_clobbering_leaves_what_is_there(
        self, entrepot: Entrepot, publish: Publish, repository: ImageReference
    ) -> None:
        publish(OTHER, f"{repository.path}-kept", "1.0")
        done = entrepot("copy", "-q", "--all-tags", "--no-clobber", repository.name, f"{repository.name}-kept")
        assert (done.code, done.lines) == (0, [f"1.1: {IMAGE.digest}", f"2.0: {OTHER.digest}"])
        assert f"{repository.name}-kept:1.0 is there already ({OTHER.digest}); left alone" in done.err
        assert entrepot("digest", f"{repository.name}-kept:1.0").out == f"{OTHER.digest}\n"


class TestLogins:
    @pytest.mark.parametrize("scheme", ["bearer", "basic"])
    def test_copy_within_a_registry_with_logins_mounts_the_layers(
        self,
        entrepot: Entrepot,
        registry: RegistryProcess,
        image: ImageReference,
        monkeypatch: pytest.MonkeyPatch,
        scheme: Literal["bearer", "basic"],
    ) -> None:
        with GuardedRegistry(registry.host, Rules(scheme=scheme)) as guarded:
            login = base64.b64encode(b"bob:hunter2").decode()
            monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {guarded.host: {"auth": login}}}))
            name = f"{guarded.host}/{image.path}"
            done = entrepot("copy", "--progress", "plain", f"{name}:v1", f"{name}-mounted:v1")
        assert (done.code, done.err, done.lines[-1]) == (0, "", IMAGE.digest)
        assert sum("Mounted from" in line for line in done.lines) == len(IMAGE.layers)

    def test_copy_to_a_registry_that_wants_a_login_says_so(
        self, entrepot: Entrepot, registry: RegistryProcess, image: ImageReference
    ) -> None:
        with GuardedRegistry(registry.host, Rules()) as guarded:
            target = f"{guarded.host}/{image.path}-no:v1"
            done = entrepot("copy", "-q", str(image), target)
            back = entrepot("copy", "-q", target, str(image))
        assert (done.code, done.out, back.code) == (1, "", 1)
        assert f"Error: {target}: " in done.err
        assert f"may {target} be written by this user? entrepot login {guarded.host} changes who you are" in done.err
        assert f"may {target} be read by this user?" in back.err


class TestResuming:
    def test_copy_between_registries_that_broke_off_goes_on_where_it_was(
        self, entrepot: Entrepot, publish: Publish, registry: RegistryProcess, name: str
    ) -> None:
        image = build_image(1, seed=56, size=12_000_000)
        source = publish(image, name, "v1")
        with CuttingProxy(registry.host, cuts=[7_000_000], direction="up", ending="reset") as proxy:
            target = f"{proxy.host}/{name}-far:v1"
            first = entrepot("copy", "-q", "--retries", "0", str(source), target)
            sent = proxy.passed["up"]
            second = entrepot("copy", "-q", "--retries", "0", str(source), target)
            sent_again = proxy.passed["up"] - sent
        assert (first.code, first.out) == (1, "")
        assert (second.code, second.out) == (0, f"{image.digest}\n")
        assert sent_again < 7_000_000


class TestDryRun:
    def test_copy_dry_says_what_is_lacking_and_copies_nothing(self, entrepot: Entrepot, image: ImageReference) -> None:
        target = f"{image.name}-dry:v1"
        done = entrepot("copy", "--dry-run", str(image), target)
        assert done.code == 0
        assert done.out.startswith(f"would copy {image} to {target}: {IMAGE.digest}, 3 blobs of ")
        assert "3 of them" in done.out
        assert entrepot("digest", target).code == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "text"),
        [
            (("{image}-no:v1", "oci:{folder}/x"), 2, "{image}-no:v1 not found"),
            (("store:nothing:v1", "oci:{folder}/x"), 2, "store:nothing:v1 not found"),
            (("oci:{folder}/nothing", "{image}:x"), 2, "there is no image in it"),
            (("oci-archive:{folder}/nothing.tar", "{image}:x"), 2, "there is no file"),
            (("{image}:v1", "oci-archive:{folder}/x.tar@sha256:" + "0" * 64), 1, "expected a tag to write to"),
            (("{image}:v1", "{image}@sha256:" + "0" * 64), 1, "cannot be made of"),
            (("dir:/tmp/x", "{image}:x"), 1, "no place that entrepot knows"),
            (("oci:", "{image}:x"), 1, "expected something like oci:images/nginx:1.23.3"),
            (("--filter", "1*", "{image}:v1", "{image}:x"), 1, "needs --all-tags"),
            (("--all-tags", "{image}:v1", "{image}"), 1, "expected a repository without tag"),
            (("--all-tags", "{image}", "oci-archive:{folder}/x.tar"), 1, "to a registry, the store or a layout only"),
            (("--platform", "linux/arm64", "--all-platforms", "{image}:v1", "{image}:x"), 1, "got both"),
        ],
        ids=[
            "no image", "not in the store", "no layout", "no archive", "to digest", "other digest", "dir", "empty",
            "filter alone", "tag with all tags", "archive of all tags", "both",
        ],
    )  # fmt: skip
    def test_copy_of_what_cannot_be_is_refused(
        self,
        entrepot: Entrepot,
        image: ImageReference,
        tmp_path: Path,
        arguments: tuple[str, ...],
        code: int,
        text: str,
    ) -> None:
        fill = {"image": image.name, "folder": str(tmp_path)}
        done = entrepot("copy", *(argument.format(**fill) for argument in arguments))
        assert text.format(**fill) in done.err
        assert (done.code, done.out) == (code, "")

    @pytest.mark.parametrize(
        ("target", "text"),
        [
            ("oci:{folder}/full", "is no OCI image layout, and other files are in it"),
            ("oci:{folder}/full/letter", "is a file; expected a folder"),
            ("oci-archive:{folder}/none/x.tar", "No such file or directory"),
        ],
        ids=["other files", "file", "no folder"],
    )
    def test_copy_to_where_something_else_is_touches_nothing(
        self, entrepot: Entrepot, image: ImageReference, tmp_path: Path, target: str, text: str
    ) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter").write_text("dear")
        done = entrepot("copy", str(image), target.format(folder=tmp_path))
        assert (done.code, done.out) == (1, "")
        assert text in done.err
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter"]

    def test_copy_of_archive_with_several_images_lists_them(
        self, entrepot: Entrepot, image: ImageReference, tmp_path: Path
    ) -> None:
        write_docker_archive(tmp_path / "two.tar", {"app:v1": IMAGE, "app:v2": OTHER})
        done = entrepot("copy", f"docker-archive:{tmp_path}/two.tar", f"{image.name}:x")
        assert (done.code, done.out) == (1, "")
        assert "expected one image, got several; name one of them: app:v1, app:v2" in done.err
        done = entrepot("copy", f"docker-archive:{tmp_path}/two.tar:app:v3", f"{image.name}:x")
        assert (done.code, done.out) == (2, "")
        done = entrepot("copy", "-q", f"docker-archive:{tmp_path}/two.tar:app:v2", "store:two:v2")
        assert done.code == 0
        assert entrepot("images", "-q", "--no-trunc", "two").out == f"{OTHER.id}\n"

    def test_copy_that_fails_leaves_no_archive(
        self, entrepot: Entrepot, registry: RegistryProcess, image: ImageReference, tmp_path: Path
    ) -> None:
        folder = tmp_path / "layout"
        entrepot("copy", str(image), f"oci:{folder}")
        blob = folder / "blobs" / "sha256" / IMAGE.layers[0].digest.encoded
        blob.write_bytes(bytes(len(IMAGE.layers[0].data)))
        done = entrepot("copy", f"oci:{folder}", f"oci-archive:{tmp_path}/broken.tar")
        assert (done.code, done.out) == (1, "")
        assert f"{IMAGE.layers[0].digest} is damaged" in done.err
        assert sorted(path.name for path in tmp_path.glob("*broken*")) == []


def test_copy_has_an_example_for_each_kind_of_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["copy", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("store:", "oci:", "oci-archive:", "docker-archive:", "docker-daemon:"):
        assert word in text
