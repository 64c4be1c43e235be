from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from entrepot.config import (
    FIELDS,
    SECTIONS,
    Settings,
    check_exposure,
    flag_of,
    load,
    read,
    variable_of,
    without_password,
)
from entrepot.config.model import default_root
from entrepot.errors import ConfigInvalid

WriteFile = Callable[[str], Path]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(text: str) -> Path:
        file = tmp_path / "settings.toml"
        file.write_text(text, "utf-8")
        return file

    return write


def problems(config_file: Path | None = None, overrides: dict[str, Any] | None = None) -> dict[str, tuple[str, str]]:
    """Origin and text of each problem by its key."""
    with pytest.raises(ConfigInvalid) as caught:
        load(config_file, overrides)
    return {problem["key"]: (problem["origin"], problem["text"]) for problem in caught.value.detail["problems"]}


class TestSources:
    def test_load_without_anything_gives_defaults(self) -> None:
        assert load() == Settings()

    def test_settings_built_directly_ignore_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENTREPOT_SERVER__WORKERS", "3")
        assert Settings().server.workers == 0

    @pytest.mark.parametrize(
        ("file", "environment", "flag", "expected", "origin"),
        [
            pytest.param(None, None, None, 0, "default", id="default"),
            pytest.param(1, None, None, 1, "{file}", id="file"),
            pytest.param(1, 2, None, 2, "environment variable ENTREPOT_SERVER__WORKERS", id="environment over file"),
            pytest.param(1, 2, 3, 3, "flag --workers", id="flag over environment"),
            pytest.param(1, None, 3, 3, "flag --workers", id="flag over file"),
        ],
    )
    def test_read_takes_the_strongest_source(
        self,
        write_file: WriteFile,
        monkeypatch: pytest.MonkeyPatch,
        file: int | None,
        environment: int | None,
        flag: int | None,
        expected: int,
        origin: str,
    ) -> None:
        config_file = write_file("" if file is None else f"[server]\nworkers = {file}\n")
        if environment is not None:
            monkeypatch.setenv("ENTREPOT_SERVER__WORKERS", str(environment))
        loaded = read(config_file, {"server.workers": flag})
        assert loaded.settings.server.workers == expected
        assert loaded.origin("server.workers") == origin.format(file=config_file)

    def test_load_merges_keys_of_one_section_from_all_sources(
        self, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ENTREPOT_SERVER__READ_ONLY", "true")
        server = load(write_file("[server]\nworkers = 2\n"), {"server.listen": "[::1]:5001"}).server
        assert (server.workers, server.read_only, server.listen) == (2, True, "[::1]:5001")

    def test_load_takes_the_file_that_the_environment_names(
        self, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ENTREPOT_CONFIG", str(write_file("[server]\nworkers = 2\n")))
        assert load().server.workers == 2

    def test_load_takes_the_file_in_the_root_folder(self, tmp_path: Path) -> None:
        (tmp_path / "entrepot.toml").write_text("[server]\nworkers = 2\n")
        assert read(overrides={"root": str(tmp_path)}).file == tmp_path / "entrepot.toml"
        assert load(overrides={"root": str(tmp_path)}).server.workers == 2

    def test_load_prefers_a_named_file_to_the_one_in_the_root_folder(
        self, tmp_path: Path, write_file: WriteFile
    ) -> None:
        (tmp_path / "entrepot.toml").write_text("[server]\nworkers = 2\n")
        assert load(write_file(""), {"root": str(tmp_path)}).server.workers == 0

    def test_load_refuses_a_file_in_the_root_folder_that_moves_the_root(self, tmp_path: Path) -> None:
        (tmp_path / "entrepot.toml").write_text('root = "/elsewhere"\n')
        origin, text = problems(overrides={"root": str(tmp_path)})["root"]
        assert origin == str(tmp_path / "entrepot.toml")
        assert text == "expected no root in a file that lies in the root folder"

    def test_load_takes_empty_variables_as_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENTREPOT_SERVER__WORKERS", "")
        assert load().server.workers == 0

    def test_load_ignores_variables_without_a_section(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENTREPOT_SERVICE_HOST", "10.0.0.1")  # Kubernetes sets such, for a service of our name
        assert load() == Settings()

    @pytest.mark.parametrize("text", ["a/*,b", " a/* , b ,"])
    def test_load_splits_lists_in_the_environment_at_commas(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("ENTREPOT_MANIFESTS__ALLOW_MISSING_CHILDREN", text)
        assert load().manifests.allow_missing_children == ("a/*", "b")


class TestWrongFiles:
    def test_load_file_that_is_absent_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigInvalid, match=r"none\.toml: expected a configuration file, found no such file"):
            load(tmp_path / "none.toml")

    def test_load_file_with_wrong_syntax_names_the_line(self, write_file: WriteFile) -> None:
        with pytest.raises(ConfigInvalid, match=r"settings\.toml: expected TOML: .*line 2, column"):
            load(write_file("[server]\nworkers 2\n"))

    def test_load_file_that_is_not_utf8_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "latin.toml"
        file.write_bytes(b'root = "/\xe4"\n')
        with pytest.raises(ConfigInvalid, match=r"latin\.toml: expected TOML in UTF-8"):
            load(file)


class TestWrongKeys:
    @pytest.mark.parametrize(
        ("text", "key", "meant"),
        [
            pytest.param("[server]\nlisen = 1", "server.lisen", "server.listen", id="misspelt key"),
            pytest.param("[sever]\nlisten = 1", "sever.listen", "server.listen", id="misspelt section"),
            pytest.param("listen = 1", "listen", "server.listen", id="section forgotten"),
            pytest.param("[limits]\nread_only = 1", "limits.read_only", "server.read_only", id="wrong section"),
            pytest.param("[server.listen]\nx = 1", "server.listen.x", "server.listen", id="value as section"),
            pytest.param("[cach]\nqqq = 1", "cach.qqq", "cache", id="only the section is near"),
        ],
    )
    def test_load_unknown_key_suggests_the_nearest(
        self, write_file: WriteFile, text: str, key: str, meant: str
    ) -> None:
        file = write_file(text)
        assert problems(file) == {key: (str(file), f"unknown key; did you mean {meant}?")}

    def test_load_unknown_key_that_resembles_nothing_says_where_to_look(self, write_file: WriteFile) -> None:
        file = write_file("qqq = 1")
        assert problems(file)["qqq"] == (str(file), "unknown key; entrepot config show lists those that exist")

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("ENTREPOT_SERVER__LISEN", "ENTREPOT_SERVER__LISTEN"),
            ("ENTREPOT_SEVER__LISTEN", "ENTREPOT_SERVER__LISTEN"),
        ],
    )
    def test_load_unknown_variable_suggests_the_nearest(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
    ) -> None:
        monkeypatch.setenv(variable, "x")
        [(origin, text)] = problems().values()
        assert (origin, text) == (f"environment variable {variable}", f"unknown key; did you mean {meant}?")

    @pytest.mark.parametrize("value", ['"x"', "1", "[]"])
    def test_load_section_with_a_value_is_refused(self, write_file: WriteFile, value: str) -> None:
        file = write_file(f"log = {value}")
        origin, text = problems(file)["log"]
        assert origin == str(file)
        assert text.startswith("expected a section with keys in it, got ")

    def test_load_reports_all_problems_at_once(self, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENTREPOT_LOG__LEVEL", "loud")
        file = write_file("[server]\nlisen = 1\nworkers = -1\n")
        assert problems(file, {"store": "x"}).keys() == {"server.lisen", "server.workers", "log.level", "store"}

    def test_load_error_message_names_key_origin_expected_and_got(self, write_file: WriteFile) -> None:
        file = write_file('[server]\nworkers = "many"\n')
        with pytest.raises(ConfigInvalid) as caught:
            load(file)
        assert caught.value.message == f"server.workers ({file}): expected a whole number, got 'many'"


class TestWrongValues:
    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("server.workers", "many", "expected a whole number, got 'many'"),
            ("server.workers", 1.5, "expected a whole number, got 1.5"),
            ("server.workers", True, "expected a whole number, got True"),
            ("server.workers", -1, "expected at least 0, got -1"),
            ("server.workers", 257, "expected at most 256, got 257"),
            ("server.read_only", "perhaps", "expected true or false, got 'perhaps'"),
            ("server.tls_minimum", "1.1", "expected '1.2' or '1.3', got '1.1'"),
            ("server.idle_timeout_seconds", 0, "expected more than 0, got 0"),
            ("server.idle_timeout_seconds", "soon", "expected a number, got 'soon'"),
            ("log.level", "loud", "expected 'debug', 'info', 'warning' or 'error', got 'loud'"),
            ("limits.manifest_bytes", "1MiB", "expected at least 4194304, got 1048576"),
            ("limits.tags_per_push", 9, "expected at least 10, got 9"),
            ("manifests.allow_missing_children", [1], "expected text in quotes, got 1"),
            ("manifests.allow_missing_children", 1, "expected a list of texts, got 1"),
            ("root", 1, "expected a path, got 1"),
            ("database", 1, "expected text in quotes, got 1"),
        ],
        ids=str,
    )
    def test_load_wrong_value_says_what_was_expected_and_what_came(self, key: str, value: Any, expected: str) -> None:
        assert problems(overrides={key: value})[key][1] == expected

    def test_load_wrong_value_names_the_variable_it_came_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENTREPOT_LIMITS__PAGE_SIZE", "0")
        assert problems()["limits.page_size"][0] == "environment variable ENTREPOT_LIMITS__PAGE_SIZE"

    def test_load_wrong_url_hides_its_password(self) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            load(overrides={"database": "postgresql://me:secret@host"})
        assert "secret" not in caught.value.message + str(caught.value.detail)
        assert "postgresql://***@host" in caught.value.message

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:very@secret@host/db",
            "postgresql://me:very/secret@host/db",
            "postgresql://me:very?secret#@host/db",
            "postgresql://me:very secret@host/db",
            "postgresql:me:secret@host/db",
            "postgresql+asyncpg://me:very/secret@host/db",
            "PostgreSQL://me:very/secret@host/db",
            "postgresql://host/?user=me&password=secret",
        ],
    )
    def test_load_malformed_url_hides_its_password_and_says_how_to_write_it(self, url: str) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            load(overrides={"database": url})
        assert "secret" not in caught.value.message + str(caught.value.detail)
        assert "***" in caught.value.message
        if url.startswith("postgresql:"):
            assert "with %40 for @, %2F for /" in caught.value.message

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql://me:secret@host:5432/db?sslmode=require", "postgresql://***@host:5432/db?sslmode=require"),
            (
                "postgresql://host/db?user=me&password=secret&sslmode=x",
                "postgresql://host/db?user=me&password=***&sslmode=x",
            ),
            ("postgresql://one:1,two:2/db", "postgresql://one:1,two:2/db"),
            ("sqlite:///a@b.db", "sqlite:///a@b.db"),
            ("file:///srv/a@b", "file:///srv/a@b"),
        ],
    )
    def test_url_is_shown_without_its_password(self, url: str, shown: str) -> None:
        assert without_password(url) == shown

    @pytest.mark.parametrize(
        ("key", "url"),
        [
            ("database", "entrepot.db"),
            ("database", "sqlite:///"),
            ("database", "sqlite:///:memory:"),
            ("database", "sqlite:///a.db?mode=ro"),
            ("database", "postgresql://host"),
            ("database", "postgresql:///"),
            ("database", "postgresql+asyncpg://host/db"),
            ("database", "postgresql://host/db with space"),
            ("store", "/srv/blobs"),
            ("store", "file://host/srv"),
            ("store", "file:///"),
            ("store", "s3://"),
            ("store", "s3://UPPER/prefix"),
            ("store", "s3://bucket/prefix?versions"),
        ],
    )
    def test_load_malformed_url_is_refused(self, key: str, url: str) -> None:
        assert problems(overrides={key: url})[key][1].startswith("expected ")


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (5_000_000, 5_000_000),
            ("5000000", 5_000_000),
            ("5000000B", 5_000_000),
            ("4MiB", 4 * 1024**2),
            ("4 mib", 4 * 1024**2),
            ("8192KiB", 8 * 1024**2),
            ("5MB", 5_000_000),
            ("1GB", 10**9),
            ("1GiB", 1024**3),
        ],
    )
    def test_load_size_is_read_with_its_unit(self, text: str | int, expected: int) -> None:
        assert load(overrides={"limits.manifest_bytes": text}).limits.manifest_bytes == expected

    @pytest.mark.parametrize("text", ["", "MiB", "4 apples", "4.5MiB", "-4MiB", "4MiBs", "٤MiB"])
    def test_load_size_in_other_words_is_refused(self, text: str) -> None:
        expected = 'expected a number of bytes such as 4194304, "4MiB" or "1GB"'
        assert problems(overrides={"limits.manifest_bytes": text})["limits.manifest_bytes"][1].startswith(expected)


class TestListen:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("127.0.0.1:5000", "127.0.0.1", 5000),
            ("localhost:1", "localhost", 1),
            ("0.0.0.0:65535", "0.0.0.0", 65535),
            ("[::1]:5000", "::1", 5000),
            ("[0:0:0:0:0:0:0:1]:5000", "::1", 5000),
            ("registry.example.org:443", "registry.example.org", 443),
        ],
    )
    def test_load_listen_is_split_into_host_and_port(self, text: str, host: str, port: int) -> None:
        server = load(overrides={"server.listen": text}).server
        assert (server.host, server.port) == (host, port)

    @pytest.mark.parametrize(
        "text",
        ["", "5000", ":5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:5000", "a b:1", "[]:1"],
    )
    def test_load_listen_without_host_and_port_is_refused(self, text: str) -> None:
        assert problems(overrides={"server.listen": text})["server.listen"][1].startswith("expected HOST:PORT")

    def test_load_listen_with_a_wrong_ipv6_address_is_refused(self) -> None:
        text = problems(overrides={"server.listen": "[1::2::3]:5000"})["server.listen"][1]
        assert text.startswith("expected an IPv6 address between the brackets")


class TestTls:
    def test_load_certificate_and_key_are_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("chain.pem").touch()
        Path("key.pem").touch()
        server = load(overrides={"server.tls_certificate": "chain.pem", "server.tls_key": "key.pem"}).server
        assert (server.tls_certificate, server.tls_key) == (tmp_path / "chain.pem", tmp_path / "key.pem")

    @pytest.mark.parametrize("given", ["server.tls_certificate", "server.tls_key"])
    def test_load_one_of_certificate_and_key_is_refused(self, tmp_path: Path, given: str) -> None:
        (tmp_path / "file.pem").touch()
        text = problems(overrides={given: str(tmp_path / "file.pem")})["server.tls_key"][1]
        assert text.startswith("expected both server.tls_certificate and server.tls_key, or neither")

    def test_load_certificate_that_is_absent_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        found = problems(overrides={"server.tls_certificate": "none.pem"})
        assert found["server.tls_certificate"][1] == "expected a file that exists, got 'none.pem'"


class TestPlaces:
    def test_database_and_store_are_below_the_root_by_default(self, tmp_path: Path) -> None:
        settings = load(overrides={"root": str(tmp_path)})
        assert (settings.database_path, settings.store_path) == (tmp_path / "entrepot.db", tmp_path)

    @pytest.mark.parametrize(
        ("url", "expected"),
        [("sqlite:///names.db", "/srv/names.db"), ("sqlite:////var/names.db", "/var/names.db")],
    )
    def test_database_url_with_three_slashes_is_below_the_root(self, url: str, expected: str) -> None:
        assert load(overrides={"root": "/srv", "database": url}).database_path == Path(expected)

    @pytest.mark.parametrize(
        ("url", "expected"), [("file:///srv/blobs", "/srv/blobs"), ("file:///srv/my%20blobs", "/srv/my blobs")]
    )
    def test_store_url_names_a_folder(self, url: str, expected: str) -> None:
        assert load(overrides={"store": url}).store_path == Path(expected)

    @pytest.mark.parametrize("url", ["postgresql://me:pw@db.example.org:5432/names", "postgres:///names?host=/run/pg"])
    def test_database_url_names_a_postgresql_database(self, url: str) -> None:
        assert load(overrides={"database": url}).postgresql_url == url
        assert load().postgresql_url is None

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("s3://bucket", ("bucket", "")),
            ("s3://bucket/", ("bucket", "")),
            ("s3://my.bucket-1/registry/eu/", ("my.bucket-1", "registry/eu")),
        ],
    )
    def test_store_url_names_a_bucket_and_a_prefix(self, url: str, expected: tuple[str, str]) -> None:
        assert load(overrides={"store": url}).bucket == expected
        assert load().bucket is None

    @pytest.mark.parametrize("address", ["s3.example.org", "ftp://s3.example.org", "https://s3.example.org/path"])
    def test_load_wrong_address_of_an_s3_server_is_refused(self, address: str) -> None:
        assert problems(overrides={"s3.endpoint": address})["s3.endpoint"][1].startswith("expected http://HOST:PORT")

    def test_load_part_smaller_than_s3_takes_is_refused(self) -> None:
        text = problems(overrides={"s3.part_bytes": "4MiB"})["s3.part_bytes"][1]
        assert text == "expected 0, or at least 5 MiB, the least that S3 takes, got '4MiB'"

    def test_root_is_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert load(overrides={"root": "data"}).root == tmp_path / "data"

    @pytest.mark.parametrize(
        ("platform", "variables", "expected"),
        [
            pytest.param("linux", {"XDG_DATA_HOME": "/data"}, "/data/entrepot", id="linux with XDG_DATA_HOME"),
            pytest.param("linux", {"XDG_DATA_HOME": ""}, "/me/.local/share/entrepot", id="linux"),
            pytest.param("darwin", {}, "/me/Library/Application Support/entrepot", id="macos"),
            pytest.param("win32", {"LOCALAPPDATA": "/local"}, "/local/entrepot", id="windows"),
        ],
    )
    def test_default_root_is_the_data_folder_of_the_platform(
        self, monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
    ) -> None:
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv("HOME", "/me")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert default_root() == Path(expected)


class TestWorkers:
    def test_worker_count_is_what_was_set(self) -> None:
        assert load(overrides={"server.workers": 7}).server.worker_count == 7

    def test_worker_count_without_setting_is_between_one_and_four(self) -> None:
        assert 1 <= load().server.worker_count <= 4


class TestExposure:
    @pytest.mark.parametrize("listen", ["127.0.0.1:5000", "127.9.9.9:5000", "[::1]:5000", "localhost:5000"])
    def test_check_exposure_on_loopback_is_fine(self, listen: str) -> None:
        check_exposure(load(overrides={"server.listen": listen}))

    @pytest.mark.parametrize("listen", ["0.0.0.0:5000", "[::]:5000", "192.168.1.2:5000", "registry.example.org:443"])
    def test_check_exposure_beyond_loopback_is_refused_with_what_to_write(self, listen: str) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            check_exposure(load(overrides={"server.listen": listen}))
        assert listen in caught.value.message
        for words in ("--behind-proxy", "server.behind_proxy", "--allow-anonymous-push", "server.allow_anonymous_push"):
            assert words in caught.value.detail["hint"]

    def test_check_exposure_with_tls_alone_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file.pem").touch()
        pem = str(tmp_path / "file.pem")
        flags = {"server.listen": "0.0.0.0:5000", "server.tls_certificate": pem, "server.tls_key": pem}
        with pytest.raises(ConfigInvalid, match="refusing to listen"):
            check_exposure(load(overrides=flags))

    @pytest.mark.parametrize("permission", ["server.behind_proxy", "server.allow_anonymous_push"])
    def test_check_exposure_with_permission_is_fine(self, permission: str) -> None:
        check_exposure(load(overrides={"server.listen": "0.0.0.0:5000", permission: True}))


class TestModel:
    def test_settings_are_frozen(self) -> None:
        with pytest.raises(ValidationError):
            Settings().server.workers = 2

    @pytest.mark.parametrize("key", FIELDS)
    def test_every_setting_has_a_description(self, key: str) -> None:
        description = FIELDS[key].description
        assert description
        assert description.endswith(".")

    @pytest.mark.parametrize("section", SECTIONS)
    def test_every_section_says_what_it_is_about(self, section: str) -> None:
        assert SECTIONS[section].__doc__

    def test_names_of_a_setting_follow_from_its_key(self) -> None:
        assert variable_of("server.read_only") == "ENTREPOT_SERVER__READ_ONLY"
        assert flag_of("server.read_only") == "--read-only"
        assert flag_of("limits.page_size") is None
