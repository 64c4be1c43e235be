"""The library beyond what docs/library.md shows: who asks, where images are kept, what is refused."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import entrepot
from entrepot import Access, Credentials, Secret
from entrepot.errors import ManifestUnknown, NameInvalid, NotFound, PlatformUnknown, Unauthenticated
from entrepot.reference import RepositoryName
from entrepot.testing.images import Image, Index, build_artifact, build_image, build_index
from entrepot.testing.repository_suite import push as put
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry

IMAGE = build_image(2, seed=201)
INDEX = build_index(seed=202)
BOB = Credentials("bob", Secret("hunter2"))
WRONG = Credentials("bob", Secret("wrong"))


def config_json(domain: str, text: str) -> str:
    return json.dumps({"auths": {domain: {"auth": base64.b64encode(text.encode()).decode()}}})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "images"))
    for name in ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def path() -> str:
    return f"library/app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def guarded(registry: RegistryProcess) -> Iterator[GuardedRegistry]:
    with GuardedRegistry(registry.host, Rules()) as guarded:
        yield guarded


async def publish(registry: RegistryProcess, path: str, content: Image | Index) -> str:
    """Puts it into the registry as v1, and returns its name there."""
    async with entrepot.open_registry(registry.host) as remote:
        await put(remote.repository(RepositoryName(path)), content, entrepot.Tag("v1"))
    return f"{registry.host}/{path}:v1"


class TestLogins:
    async def test_login_of_the_caller_is_used_for_pull_and_push(
        self, registry: RegistryProcess, guarded: GuardedRegistry, path: str
    ) -> None:
        await publish(registry, path, IMAGE)
        access = Access(logins={guarded.host: BOB})
        assert (await entrepot.pull(f"{guarded.host}/{path}:v1", access=access)).digest == IMAGE.digest
        await entrepot.tag(f"{guarded.host}/{path}:v1", f"{guarded.host}/{path}-2:v1")
        assert (await entrepot.push(f"{guarded.host}/{path}-2:v1", access=access)).digest == IMAGE.digest
        assert {call.user for call in guarded.token_calls} == {"bob"}

    @pytest.mark.parametrize("credentials", [WRONG, None], ids=["wrong", "nobody"])
    async def test_login_of_the_caller_goes_before_files(
        self,
        registry: RegistryProcess,
        guarded: GuardedRegistry,
        path: str,
        home: Path,
        credentials: Credentials | None,
    ) -> None:
        (home / ".docker" / "config.json").write_text(config_json(guarded.host, "bob:hunter2"))
        await publish(registry, path, IMAGE)
        name = f"{guarded.host}/{path}:v1"
        assert await entrepot.resolve(name) == IMAGE.digest
        with pytest.raises(Unauthenticated):
            await entrepot.resolve(name, access=Access(logins={guarded.host: credentials}))

    async def test_login_of_the_caller_is_not_for_other_registries(
        self, registry: RegistryProcess, guarded: GuardedRegistry, path: str
    ) -> None:
        await publish(registry, path, IMAGE)
        with pytest.raises(Unauthenticated):
            await entrepot.list_tags(f"{guarded.host}/{path}", access=Access(logins={"registry.example.com": BOB}))

    async def test_environment_counts_unless_another_one_is_given(
        self, registry: RegistryProcess, guarded: GuardedRegistry, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", config_json(guarded.host, "bob:hunter2"))
        await publish(registry, path, IMAGE)
        name = f"{guarded.host}/{path}"
        assert await entrepot.list_tags(name, access=Access(attempts=1)) == ["v1"]
        with pytest.raises(Unauthenticated):
            await entrepot.list_tags(name, access=Access(environment={}))

    def test_login_prints_no_password(self) -> None:
        assert "hunter2" not in repr(Access(logins={"registry.example.com": BOB}))


class TestStore:
    async def test_root_is_the_variable_s_unless_it_is_given(
        self, registry: RegistryProcess, path: str, tmp_path: Path
    ) -> None:
        name = await publish(registry, path, IMAGE)
        await entrepot.pull(name, root=tmp_path / "given")
        assert await entrepot.list_images() == []
        await entrepot.pull(name)
        [row] = await entrepot.list_images(root=tmp_path / "images")
        assert (row.repository, row.tag, row.id) == (f"{registry.host}/{path}", "v1", IMAGE.id)

    async def test_pull_tells_the_listener_of_each_layer(self, registry: RegistryProcess, path: str) -> None:
        name = await publish(registry, path, IMAGE)
        events: list[entrepot.Event] = []
        await entrepot.pull(name, listener=events.append)
        done = {event.digest for event in events if event.state is entrepot.State.DONE}
        assert {layer.digest for layer in IMAGE.layers} <= done

    async def test_push_of_one_platform_sends_its_image_alone(self, registry: RegistryProcess, path: str) -> None:
        name = await publish(registry, path, INDEX)
        await entrepot.pull(name, platform="linux/arm64")
        await entrepot.tag(name, f"{registry.host}/{path}-arm:v1")
        for platform in (None, "linux/arm64"):
            pushed = await entrepot.push(f"{registry.host}/{path}-arm:v1", platform=platform)
            assert pushed.digest == INDEX.children[1].digest
            assert await entrepot.resolve(f"{registry.host}/{path}-arm:v1") == pushed.digest

    async def test_push_of_what_is_not_there_is_unknown(self) -> None:
        with pytest.raises(NotFound):
            await entrepot.push("localhost:1/app:v1")

    async def test_push_by_digest_is_refused(self) -> None:
        with pytest.raises(NameInvalid, match="cannot push a digest reference"):
            await entrepot.push(f"localhost:1/app@{IMAGE.digest}")


class TestCopy:
    async def test_copy_takes_referrers_along_when_asked_to(self, registry: RegistryProcess, path: str) -> None:
        await publish(registry, path, IMAGE)
        await publish(registry, path, build_artifact(b"x", artifact_type="application/vnd.example", subject=IMAGE))
        source = f"{registry.host}/{path}@{IMAGE.digest}"
        for target, referrers in ((f"{path}-without", False), (f"{path}-with", True)):
            await entrepot.copy(source, f"{registry.host}/{target}:v1", referrers=referrers)
        async with entrepot.open_registry(registry.host) as remote:
            found = [
                len((await remote.repository(RepositoryName(f"{path}-{end}")).list_referrers(IMAGE.digest, None)).items)
                for end in ("without", "with")
            ]
        assert found == [0, 1]

    async def test_copy_again_moves_nothing(self, registry: RegistryProcess, path: str, tmp_path: Path) -> None:
        name = await publish(registry, path, INDEX)
        first = await entrepot.copy(name, f"oci:{tmp_path}/layout:v1")
        again = await entrepot.copy(name, f"oci:{tmp_path}/layout:v1")
        assert (first.moved, again.moved) == (True, False)
        assert first.digest == again.digest == INDEX.digest

    async def test_copy_of_one_platform_is_its_image(self, registry: RegistryProcess, path: str) -> None:
        name = await publish(registry, path, INDEX)
        copied = await entrepot.copy(name, "store:app:v1", platform="linux/amd64")
        assert copied.digest == INDEX.children[0].digest

    async def test_copy_of_what_is_not_there_is_unknown(self, registry: RegistryProcess, path: str) -> None:
        with pytest.raises(NotFound):
            await entrepot.copy(f"{registry.host}/{path}:v1", "store:app:v1")


async def test_resolve_without_the_platform_names_those_there_are(registry: RegistryProcess, path: str) -> None:
    name = await publish(registry, path, INDEX)
    with pytest.raises(PlatformUnknown) as caught:
        await entrepot.resolve(name, platform="linux/s390x")
    assert caught.value.detail["platforms"] == ["linux/amd64", "linux/arm64"]


async def test_resolve_of_a_tag_that_is_not_there_is_unknown(registry: RegistryProcess, path: str) -> None:
    await publish(registry, path, IMAGE)
    with pytest.raises(ManifestUnknown):
        await entrepot.resolve(f"{registry.host}/{path}:v2")


async def test_list_repositories_names_what_was_pushed(registry: RegistryProcess, path: str) -> None:
    await publish(registry, path, IMAGE)
    assert path in await entrepot.list_repositories(registry.host)
