from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from entrepot.auth.credential_helper import CredentialHelperFailed
from entrepot.auth.credentials import Credentials, CredentialStore, Secret
from entrepot.errors import ConfigInvalid

from .conftest import WriteHelper

HOST = "registry.example.com"
BOB = Credentials("bob", Secret("hunter2"))
BOB_S_TOKEN = Credentials("bob", Secret(""), Secret("identity"))


def login(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


class Home:
    """A home folder, and what was warned about."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self.environment = environment
        self.warnings: list[str] = []

    @property
    def config(self) -> Path:
        return self.path / ".docker" / "config.json"

    @property
    def podman(self) -> Path:
        return self.path / ".config" / "containers" / "auth.json"

    def store(self, authfile: Path | None = None) -> CredentialStore:
        return CredentialStore(self.environment, self.path, self.warnings.append, authfile)

    def write(self, file: Path, **settings: Any) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
        return file

    def user(self, domain: str = HOST, path: str = "team/app", authfile: Path | None = None) -> str | None:
        found = self.store(authfile).find(domain, path)
        return found.username if found else None

    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(self.config.read_text())
        return settings


@pytest.fixture
def home(tmp_path: Path, environment: dict[str, str]) -> Home:
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, environment)


class TestFind:
    def test_find_nothing_is_nobody(self, home: Home) -> None:
        assert home.user() is None
        assert home.warnings == []

    @pytest.mark.parametrize(
        "key", [HOST, f"https://{HOST}", f"http://{HOST}/v2/", f"https://{HOST}/v1/", f"{HOST}/other", HOST.upper()]
    )
    def test_find_login_in_docker_s_file_by_any_spelling(self, home: Home, key: str) -> None:
        home.write(home.config, auths={"elsewhere.example.com": login("eve"), key: login("bob")})
        assert home.user() == "bob"
        assert home.user("example.com") is None
        assert home.user(f"{HOST}:5000") is None

    @pytest.mark.parametrize(
        "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
    )
    def test_find_login_for_docker_hub(self, home: Home, key: str) -> None:
        home.write(home.config, auths={key: login("bob")})
        assert home.user("docker.io", "library/nginx") == "bob"

    def test_find_login_with_colons_and_other_letters(self, home: Home) -> None:
        home.write(home.config, auths={HOST: login("bob", "p:ä:ß")})
        assert home.store().find(HOST) == Credentials("bob", Secret("p:ä:ß"))

    def test_find_identity_token(self, home: Home) -> None:
        home.write(home.config, auths={HOST: {**login("bob", ""), "identitytoken": "identity"}})
        assert home.store().find(HOST) == BOB_S_TOKEN

    @pytest.mark.parametrize(
        ("path", "user"),
        [
            ("team/app/part", "app"),
            ("team/app", "app"),
            ("team/application", "team"),
            ("team", "team"),
            ("other", "all"),
            ("", "all"),
        ],
    )
    def test_find_login_of_the_longest_path_in_podman_s_file(self, home: Home, path: str, user: str) -> None:
        auths = {HOST: login("all"), f"{HOST}/team": login("team"), f"{HOST}/team/app": login("app")}
        home.write(home.podman, auths=auths)
        assert home.user(HOST, path) == user

    def test_find_login_of_another_path_in_podman_s_file_is_nobody(self, home: Home) -> None:
        home.write(home.podman, auths={f"{HOST}/team": login("team")})
        assert home.user(HOST, "other") is None

    def test_find_login_in_the_order_of_sources(self, home: Home, tmp_path: Path, write_helper: WriteHelper) -> None:
        for name in ("mine", "all"):
            answer = json.dumps({"ServerURL": "", "Username": f"helper {name}", "Secret": "pw"})
            write_helper(name, f"print({answer!r})")
        runtime = tmp_path / "run"
        home.environment |= {
            "DOCKER_AUTH_CONFIG": json.dumps({"auths": {HOST: login("variable")}}),
            "XDG_RUNTIME_DIR": str(runtime),
        }
        settings: dict[str, Any] = {
            "auths": {HOST: login("docker")},
            "credsStore": "all",
            "credHelpers": {HOST: "mine"},
        }
        home.write(home.config, **settings)
        home.write(runtime / "containers" / "auth.json", auths={HOST: login("run")})
        home.write(home.podman, auths={HOST: login("podman")})
        users = [home.user()]
        del home.environment["DOCKER_AUTH_CONFIG"]
        users.append(home.user())
        for key in ("credHelpers", "credsStore", "auths"):
            del settings[key]
            home.write(home.config, **settings)
            users.append(home.user())
        del home.environment["XDG_RUNTIME_DIR"]
        users.append(home.user())
        assert users == ["variable", "helper mine", "helper all", "docker", "run", "podman"]
        assert home.warnings == []

    @pytest.mark.parametrize(
        ("variable", "name"),
        [
            ("DOCKER_CONFIG", "config.json"),
            ("REGISTRY_AUTH_FILE", ""),
            ("XDG_RUNTIME_DIR", "containers/auth.json"),
            ("XDG_CONFIG_HOME", "containers/auth.json"),
        ],
    )
    def test_find_login_where_a_variable_says(self, home: Home, tmp_path: Path, variable: str, name: str) -> None:
        home.environment[variable] = str(tmp_path / "there")
        home.write(tmp_path / "there" / name, auths={HOST: login("bob")})
        assert home.user() == "bob"

    def test_find_login_with_authfile_looks_nowhere_else(self, home: Home, tmp_path: Path) -> None:
        home.write(home.config, auths={HOST: login("docker"), "a.example.com": login("docker")})
        authfile = home.write(tmp_path / "auth.json", auths={HOST: login("bob")})
        assert home.user(authfile=authfile) == "bob"
        assert home.user("a.example.com", authfile=authfile) is None

    @pytest.mark.parametrize("program", [None, "sys.exit(1)"], ids=["absent", "failing"])
    def test_find_login_with_a_useless_helper_warns_once_and_goes_on(
        self, home: Home, write_helper: WriteHelper, program: str | None
    ) -> None:
        if program:
            write_helper("desktop", program)
        home.write(home.config, credsStore="desktop")
        home.write(home.podman, auths={HOST: login("bob")})
        store = home.store()
        assert [store.find(HOST) is not None, store.find("other.example.com")] == [True, None]
        [warning] = home.warnings
        assert warning.startswith("the credential helper docker-credential-desktop failed: ")

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("{", "is not valid JSON"),
            ("[]", "expected a JSON object, got list"),
            ("[" * 100_000, "is not valid JSON"),
            ('{"auths": {"registry.example.com": {"auth": "%%%"}}}', "expected \"auth\" to be the Base64"),
            ('{"auths": {"registry.example.com": {"auth": "Ym9i"}}}', "expected \"auth\" to be the Base64"),
            ('{"auths": {"registry.example.com": {"auth": "/////w=="}}}', "expected \"auth\" to be the Base64"),
            ('{"auths": {"registry.example.com": "bob"}}', "expected an object for each registry"),
        ],
        ids=["broken", "list", "deep", "no Base64", "no colon", "no text", "no object"],
    )  # fmt: skip
    def test_find_login_in_a_broken_file_warns_and_goes_on(self, home: Home, content: str, text: str) -> None:
        home.write(home.podman, auths={HOST: login("bob")})
        home.write(home.config)
        home.config.write_text(content)
        assert home.user() == "bob"
        [warning] = home.warnings
        assert warning.startswith(str(home.config))
        assert text in warning

    @pytest.mark.parametrize(
        "settings",
        [{"auths": []}, {"auths": {HOST: {}}}, {"auths": {HOST: {"auth": 5}}}, {"credsStore": 5}, {"credHelpers": "x"}],
        ids=str,
    )
    def test_find_login_in_odd_settings_is_nobody(self, home: Home, settings: dict[str, Any]) -> None:
        home.write(home.config, **settings)
        assert home.user() is None

    def test_find_login_in_a_huge_file_warns(self, home: Home) -> None:
        home.write(home.config, x="x" * 5_000_000)
        assert home.user() is None
        assert "expected at most 4194304 bytes" in home.warnings[0]

    def test_find_login_in_a_broken_variable_warns_without_its_text(self, home: Home) -> None:
        home.environment["DOCKER_AUTH_CONFIG"] = '{"auths": hunter2}'
        assert home.user() is None
        [warning] = home.warnings
        assert warning.startswith("DOCKER_AUTH_CONFIG is not valid JSON")
        assert "hunter2" not in warning

    def test_find_logins_of_many_repositories_asks_the_helper_once(
        self, home: Home, helpers: Path, write_helper: WriteHelper
    ) -> None:
        write_helper("keep")
        home.write(home.config, credsStore="keep")
        store = home.store()
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda number: store.find(HOST, f"app{number}"), range(20))) == [None] * 20
        assert (helpers / "calls").read_text() == f"get {HOST}\n"
        store.save(HOST, BOB)
        assert store.find(HOST) == BOB
        store.erase(HOST)
        assert store.find(HOST) is None


class TestSave:
    def test_save_login_into_a_new_file_keeps_it_private(self, home: Home) -> None:
        assert home.store().save(HOST, BOB) == home.config
        assert home.store().find(HOST) == BOB
        assert stat.S_IMODE(home.config.stat().st_mode) == 0o600
        assert stat.S_IMODE(home.config.parent.stat().st_mode) == 0o700
        assert home.config.read_text().startswith('{\n\t"auths": {\n\t\t"registry.example.com": {\n\t\t\t"auth": ')
        assert [file.name for file in home.config.parent.iterdir()] == ["config.json"]

    def test_save_identity_token_leaves_the_password_out(self, home: Home) -> None:
        home.store().save(HOST, Credentials("bob", Secret("hunter2"), Secret("identity")))
        assert home.settings()["auths"][HOST] == {"auth": "Ym9iOg==", "identitytoken": "identity"}

    def test_save_login_for_docker_hub_under_docker_s_key(self, home: Home) -> None:
        home.store().save("docker.io", BOB)
        assert list(home.settings()["auths"]) == ["https://index.docker.io/v1/"]

    def test_save_login_replaces_other_spellings_and_keeps_the_rest(self, home: Home) -> None:
        home.write(
            home.config,
            currentContext="mine",
            auths={f"https://{HOST}/v1/": login("eve"), f"{HOST}/team": login("team"), "other": login("other")},
        )
        home.store().save(HOST, BOB)
        assert home.settings() == {
            "currentContext": "mine",
            "auths": {f"{HOST}/team": login("team"), "other": login("other"), HOST: login("bob", "hunter2")},
        }

    def test_save_login_through_a_link_keeps_the_link_and_the_mode(self, home: Home, tmp_path: Path) -> None:
        real = home.write(tmp_path / "dotfiles" / "docker.json")
        real.chmod(0o640)
        home.config.parent.mkdir()
        home.config.symlink_to(real)
        home.store().save(HOST, BOB)
        assert home.config.is_symlink()
        assert stat.S_IMODE(real.stat().st_mode) == 0o640
        assert home.user() == "bob"

    def test_save_login_with_a_helper_writes_no_password(self, home: Home, write_helper: WriteHelper) -> None:
        write_helper("keep")
        home.write(home.config, credsStore="keep", auths={HOST: login("eve")})
        assert home.store().save(HOST, BOB) is None
        assert home.settings() == {"credsStore": "keep", "auths": {HOST: {}}}
        assert home.store().find(HOST) == BOB

    def test_save_login_with_an_absent_helper_fails_and_changes_nothing(self, home: Home) -> None:
        before = home.write(home.config, credsStore="absent", auths={HOST: login("eve")}).read_bytes()
        with pytest.raises(CredentialHelperFailed, match="docker-credential-absent failed: it is not installed"):
            home.store().save(HOST, BOB)
        assert home.config.read_bytes() == before

    @pytest.mark.parametrize("content", ["{", "[]", '{"auths": 5}'], ids=["broken", "list", "auths"])
    def test_save_login_into_a_broken_file_fails_and_changes_nothing(self, home: Home, content: str) -> None:
        home.write(home.config)
        home.config.write_text(content)
        with pytest.raises(ConfigInvalid) as caught:
            home.store().save(HOST, BOB)
        assert str(home.config) in caught.value.message
        assert home.config.read_text() == content
        assert [file.name for file in home.config.parent.iterdir()] == ["config.json"]

    def test_save_login_into_authfile(self, home: Home, tmp_path: Path) -> None:
        authfile = tmp_path / "auth.json"
        assert home.store(authfile).save(HOST, BOB) == authfile
        assert home.user(authfile=authfile) == "bob"
        assert not home.config.exists()

    def test_save_logins_at_the_same_time_keeps_all(self, home: Home) -> None:
        program = """
import sys
from pathlib import Path
from entrepot.auth.credentials import *

store = CredentialStore({}, Path(sys.argv[1]), print)
for number in range(20):
    store.save(sys.argv[2] + str(number), Credentials("bob", Secret("pw")))
"""
        command = [sys.executable, "-c", program, str(home.path)]
        processes = [subprocess.Popen([*command, f"host{number}-"]) for number in range(4)]
        assert [process.wait(60) for process in processes] == [0] * 4
        assert len(home.settings()["auths"]) == 80


class TestErase:
    def test_erase_login_by_any_spelling(self, home: Home) -> None:
        home.write(home.config, auths={HOST: login("bob"), f"https://{HOST}": login("eve"), "other": login("other")})
        assert home.store().erase(HOST) is True
        assert home.settings() == {"auths": {"other": login("other")}}
        assert home.user() is None

    @pytest.mark.parametrize("exists", [True, False])
    def test_erase_login_that_is_not_there_says_so(self, home: Home, exists: bool) -> None:
        if exists:
            home.write(home.config, auths={"other": login("other")})
        assert home.store().erase(HOST) is False
        assert home.config.exists() is exists

    def test_erase_login_from_a_helper(self, home: Home, write_helper: WriteHelper) -> None:
        write_helper("keep")
        home.write(home.config, credsStore="keep")
        home.store().save(HOST, BOB)
        assert home.store().erase(HOST) is True
        assert home.user() is None
        assert home.settings() == {"credsStore": "keep", "auths": {}}

    def test_erase_login_from_a_broken_file_fails(self, home: Home) -> None:
        home.write(home.config)
        home.config.write_text("{")
        with pytest.raises(ConfigInvalid, match="is not valid JSON"):
            home.store().erase(HOST)


def test_find_login_in_a_file_that_cannot_be_read_warns(home: Home) -> None:
    home.config.mkdir(parents=True)  # a folder in its place: unreadable even for root
    assert home.user() is None
    assert "cannot be read" in home.warnings[0]


def test_save_login_into_a_file_that_cannot_be_read_fails(home: Home) -> None:
    home.config.mkdir(parents=True)
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        home.store().save(HOST, BOB)
