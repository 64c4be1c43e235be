"""Any sequence of pushes, appends, cancels, deletes and tags leaves the registry as a few dictionaries would be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from entrepot.digest import Digest
from entrepot.manifest import OCI_MANIFEST

from .conftest import check_stored
from .inprocess import Server
from .model import Repository, image
from .raw import assert_refused

CONTENTS = [b"", b"config", b"layer" * 100]
contents = st.sampled_from(CONTENTS)
contents_or_new = st.one_of(contents, st.binary(max_size=50))
tag_names = st.sampled_from(["latest", "v1", "V1"])
algorithms = st.sampled_from(["sha256", "sha256", "sha512"])
sides = st.booleans()
ABSENT = Digest.of(b"nobody pushes this")
OUTCOMES = {  # all of these must come about in a run, or else it proves little
    ("PATCH", "upload", 202),
    ("PATCH", "upload", 416),
    ("PATCH", "upload", 400),
    ("PATCH", "upload", 499),
    ("PUT", "upload", 201),
    ("PUT", "upload", 400),
    ("DELETE", "upload", 204),
    ("POST", "upload", 201),
    ("POST", "mount", 201),
    ("POST", "mount", 202),
    ("PUT", "manifests", 201),
    ("PUT", "manifests", 400),
    ("DELETE", "manifests", 202),
    ("DELETE", "manifests", 404),
    ("DELETE", "blobs", 202),
    ("DELETE", "blobs", 404),
}
_NUMBERS = itertools.count()


class Machine(RuleBasedStateMachine):
    """Two repositories, so that things can be mounted and must not leak."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        number = next(_NUMBERS)
        self.repositories = (Repository(f"model/a{number}"), Repository(f"model/b{number}"))

    @initialize(is_empty=st.booleans())
    def fill(self, is_empty: bool) -> None:
        """Half of all runs begin with something that can be deleted."""
        if not is_empty:
            for content in CONTENTS:
                self.push_blob(False, content, "sha256")
            self.push_manifest(False, [0, 1], "latest", False)

    def pick(self, side: bool) -> Repository:
        return self.repositories[side]

    def some_upload(self, index: int) -> tuple[Repository, str]:
        opened = [(repository, location) for repository in self.repositories for location in repository.uploads]
        return opened[index % len(opened)]

    def any_upload(self) -> bool:
        return any(repository.uploads for repository in self.repositories)

    @rule(side=sides, algorithm=algorithms)
    def begin_upload(self, side: bool, algorithm: str) -> None:
        repository = self.pick(side)
        reply = self.server.ask("POST", f"/v2/{repository.name}/blobs/uploads/?digest-algorithm={algorithm}")
        assert reply.status == 202
        repository.uploads[reply.headers["location"]] = b""

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=contents_or_new, with_range=st.booleans())
    def append(self, index: int, data: bytes, with_range: bool) -> None:
        repository, location = self.some_upload(index)
        held = repository.uploads[location]
        fields = [("content-range", f"{len(held)}-{len(held) + len(data) - 1}")] if with_range and data else []
        assert self.server.ask("PATCH", location, data, fields).status == 202
        repository.uploads[location] = held + data

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=st.binary(min_size=1, max_size=20), shift=st.sampled_from([-1, 1, 100]))
    def append_out_of_order(self, index: int, data: bytes, shift: int) -> None:
        repository, location = self.some_upload(index)
        start = max(0, len(repository.uploads[location]) + shift)
        if start != len(repository.uploads[location]):
            fields = [("content-range", f"{start}-{start + len(data) - 1}")]
            reply = self.server.ask("PATCH", location, data, fields)
            assert_refused(reply, 416, "BLOB_UPLOAD_INVALID")

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=st.binary(min_size=1, max_size=20), lie=st.sampled_from([-1, 1, 50]))
    def append_other_than_announced(self, index: int, data: bytes, lie: int) -> None:
        repository, location = self.some_upload(index)
        start = len(repository.uploads[location])
        end = start + len(data) - 1 + lie
        if end >= start:
            reply = self.server.ask("PATCH", location, data, [("content-range", f"{start}-{end}")])
            assert_refused(reply, 400, "SIZE_INVALID")

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=contents_or_new)
    def append_and_hang_up(self, index: int, data: bytes) -> None:
        repository, location = self.some_upload(index)
        assert self.server.ask("PATCH", location, data, hangs_up=True).status == 499
        repository.uploads[location] += data

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=contents_or_new, algorithm=algorithms)
    def finish_upload(self, index: int, data: bytes, algorithm: str) -> None:
        repository, location = self.some_upload(index)
        whole = repository.uploads.pop(location) + data
        digest = Digest.of(whole, algorithm)
        reply = self.server.ask("PUT", f"{location}?digest={digest}", data)
        assert (reply.status, reply.headers["docker-content-digest"]) == (201, digest)
        repository.blobs[digest] = whole

    @precondition(any_upload)
    @rule(index=st.integers(0, 9), data=contents_or_new)
    def finish_upload_with_wrong_digest(self, index: int, data: bytes) -> None:
        repository, location = self.some_upload(index)
        whole = repository.uploads.pop(location) + data
        reply = self.server.ask("PUT", f"{location}?digest={Digest.of(whole + b'!')}", data)
        assert_refused(reply, 400, "DIGEST_INVALID")

    @precondition(any_upload)
    @rule(index=st.integers(0, 9))
    def cancel_upload(self, index: int) -> None:
        repository, location = self.some_upload(index)
        assert self.server.ask("DELETE", location).status == 204
        del repository.uploads[location]
        assert_refused(self.server.ask("GET", location), 404, "BLOB_UPLOAD_UNKNOWN")

    @precondition(any_upload)
    @rule(index=st.integers(0, 9))
    def use_upload_under_another_name(self, index: int) -> None:
        repository, location = self.some_upload(index)
        other = self.repositories[repository is self.repositories[0]]
        for method in ("GET", "PATCH", "DELETE"):
            reply = self.server.ask(method, location.replace(repository.name, other.name))
            assert_refused(reply, 404, "BLOB_UPLOAD_UNKNOWN")

    @rule(side=sides, data=contents_or_new, algorithm=algorithms)
    def push_blob(self, side: bool, data: bytes, algorithm: str) -> None:
        repository, digest = self.pick(side), Digest.of(data, algorithm)
        reply = self.server.ask("POST", f"/v2/{repository.name}/blobs/uploads/?digest={digest}", data)
        assert reply.status == 201
        repository.blobs[digest] = data

    @rule(side=sides, index=st.integers(0, 3))
    def delete_blob(self, side: bool, index: int) -> None:
        repository = self.pick(side)
        digest = [*sorted(repository.blobs)[:3], *(Digest.of(content) for content in CONTENTS), ABSENT][index]
        reply = self.server.ask("DELETE", f"/v2/{repository.name}/blobs/{digest}")
        if digest in repository.blobs:
            assert reply.status == 202
            del repository.blobs[digest]
        else:
            assert_refused(reply, 404, repository.unknown("BLOB_UNKNOWN"))

    @rule(side=sides, data=contents)
    def mount_blob(self, side: bool, data: bytes) -> None:
        target, source, digest = self.pick(side), self.pick(not side), Digest.of(data)
        query = f"mount={digest}&from={source.name}"
        reply = self.server.ask("POST", f"/v2/{target.name}/blobs/uploads/?{query}")
        if digest in source.blobs:
            assert reply.status == 201
            target.blobs[digest] = data
        else:
            assert reply.status == 202
            target.uploads[reply.headers["location"]] = b""

    @rule(side=sides, picks=st.lists(st.integers(0, 2), min_size=1, max_size=3), tag=tag_names, by_digest=st.booleans())
    def push_manifest(self, side: bool, picks: list[int], tag: str, by_digest: bool) -> None:
        repository = self.pick(side)
        there = [blob for digest, blob in sorted(repository.blobs.items()) if digest.algorithm == "sha256"]
        config, *layers = [(there[:2] + CONTENTS)[pick] for pick in picks]
        manifest = image(config, layers)
        digest = Digest.of(manifest)
        reference = f"{digest}?tag={tag}" if by_digest else tag
        reply = self.server.ask(
            "PUT", f"/v2/{repository.name}/manifests/{reference}", manifest, [("content-type", OCI_MANIFEST)]
        )
        if absent := repository.absent(manifest):
            assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN")
            assert {error["detail"]["digest"] for error in reply.errors} == absent
        else:
            assert (reply.status, reply.headers["docker-content-digest"]) == (201, digest)
            repository.manifests[digest] = manifest
            repository.tags[tag] = digest

    @rule(side=sides, tag=tag_names)
    def delete_tag(self, side: bool, tag: str) -> None:
        repository = self.pick(side)
        reply = self.server.ask("DELETE", f"/v2/{repository.name}/manifests/{tag}")
        if tag in repository.tags:
            assert reply.status == 202
            del repository.tags[tag]
        else:
            assert_refused(reply, 404, repository.unknown("MANIFEST_UNKNOWN"))

    @rule(side=sides, index=st.integers(0, 9))
    def delete_manifest(self, side: bool, index: int) -> None:
        repository = self.pick(side)
        known = sorted(repository.manifests)
        digest = known[index] if index < len(known) else ABSENT
        reply = self.server.ask("DELETE", f"/v2/{repository.name}/manifests/{digest}")
        if digest in repository.manifests:
            assert reply.status == 202
            repository.delete_manifest(digest)
        else:
            assert_refused(reply, 404, repository.unknown("MANIFEST_UNKNOWN"))

    @invariant()
    def uploads_agree(self) -> None:
        for repository in self.repositories:
            for location, held in repository.uploads.items():
                reply = self.server.ask("GET", location)
                assert (reply.status, reply.headers["range"]) == (204, f"0-{max(0, len(held) - 1)}")

    @invariant()
    def blobs_agree(self) -> None:
        for repository in self.repositories:
            for digest in {*repository.blobs, *(Digest.of(content) for content in CONTENTS)}:
                reply = self.server.ask("GET", f"/v2/{repository.name}/blobs/{digest}")
                if digest in repository.blobs:
                    assert (reply.status, reply.body) == (200, repository.blobs[digest])
                else:
                    assert_refused(reply, 404, repository.unknown("BLOB_UNKNOWN"))

    @invariant()
    def manifests_agree(self) -> None:
        for repository in self.repositories:
            for reference in {*repository.manifests, *repository.tags}:
                digest = repository.tags.get(reference) or Digest(reference)
                reply = self.server.ask("GET", f"/v2/{repository.name}/manifests/{reference}")
                assert (reply.status, reply.body) == (200, repository.manifests[digest])
                assert reply.headers["docker-content-digest"] == digest

    @invariant()
    def listings_agree(self) -> None:
        names = json.loads(self.server.ask("GET", "/v2/_catalog").body)["repositories"]
        for repository in self.repositories:
            reply = self.server.ask("GET", f"/v2/{repository.name}/tags/list")
            if repository.exists:
                tags = ",".join(f'"{tag}"' for tag in sorted(repository.tags))
                assert reply.body.decode() == f'{{"name":"{repository.name}","tags":[{tags}]}}'
            else:
                assert_refused(reply, 404, "NAME_UNKNOWN")
            assert (repository.name in names) == repository.exists


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "registry")
    yield server
    server.close()
    check_stored(tmp_path / "registry", may_lack_children=True)


def run(server: Server, *, examples: int, steps: int) -> None:
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Machine(server), settings=options)  # type: ignore[arg-type]  # takes a factory, too
    assert server.outcomes >= OUTCOMES, "the machine has become dull"


def test_registry_agrees_with_its_model(shared: Server) -> None:
    run(shared, examples=30, steps=30)


@pytest.mark.slow
def test_registry_agrees_with_its_model_for_long(shared: Server) -> None:
    run(shared, examples=60, steps=60)
