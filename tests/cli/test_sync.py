"""``entrepot sync``: lists of ours and of skopeo's, what is copied, and what is said."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.cli.sync_list import read_list
from entrepot.errors import ConfigInvalid
from entrepot.reference import ImageReference
from entrepot.testing.images import build_artifact, build_image, build_index
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.cli.conftest import Done, Entrepot, Publish

ONE, TWO, MULTI = build_image(1, seed=101), build_image(1, seed=102), build_index(seed=103)
SIGNATURE = build_artifact(b"signed", artifact_type="application/vnd.test", subject=ONE)
DIGEST_TAG = f"sha256-{ONE.digest.encoded}.sig"

Sync = Callable[..., Done]


@pytest.fixture
def path() -> str:
    return f"team-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def app(publish: Publish, path: str) -> ImageReference:
    """A repository with some tags."""
    publish(ONE, f"{path}/app", "1.0.0", "1.1.0", "1.1.0-debug", DIGEST_TAG)
    return publish(TWO, f"{path}/app", "2.0.0", "stable")


@pytest.fixture
def other(publish: Publish, path: str) -> ImageReference:
    return publish(MULTI, f"{path}/other", "v1")


@pytest.fixture
def sync(entrepot: Entrepot, registry: RegistryProcess, path: str, tmp_path: Path) -> Sync:
    """Writes the list and works through it; HOST and PATH stand for the registry and this test's folder in it."""

    def call(text: str, *flags: str) -> Done:
        file = tmp_path / "list.yaml"
        file.write_text(text.replace("HOST", registry.host).replace("PATH", path))
        return entrepot("sync", "-f", str(file), "--progress", "none", *flags)

    return call


@pytest.fixture
def tags(entrepot: Entrepot, registry: RegistryProcess, path: str) -> Callable[[str], list[str]]:
    return lambda name: entrepot("ls", f"{registry.host}/{name.replace('PATH', path)}").lines


Tags = Callable[[str], list[str]]


class TestOwnForm:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("{from: HOST/PATH/app}", ["1.0.0", "1.1.0", "1.1.0-debug", "2.0.0", "stable"]),
            ("HOST/PATH/app:stable", ["stable"]),
            ("{from: 'HOST/PATH/app:stable'}", ["stable"]),
            ("{from: HOST/PATH/app, tags: [1.*, stable]}", ["1.0.0", "1.1.0", "1.1.0-debug", "stable"]),
            ("{from: HOST/PATH/app, tags: 1.*, exclude: '*-debug'}", ["1.0.0", "1.1.0"]),
            ("{from: HOST/PATH/app, regex: '^[0-9]', exclude-regex: [debug, '^2']}", ["1.0.0", "1.1.0"]),
            ("{from: HOST/PATH/app, semver: ^1}", ["1.0.0", "1.1.0"]),
            ("{from: HOST/PATH/app, semver: '*', newest: 2}", ["1.1.0", "2.0.0"]),
            ("{from: HOST/PATH/app, tags: ['sha*', 1.0.0], digest-tags: yes}", ["1.0.0", DIGEST_TAG]),
        ],
        ids=["all", "text", "tag", "globs", "exclude", "regex", "semver", "newest", "digest tags"],
    )
    def test_sync_copies_the_tags_that_the_list_asks_for(
        self, sync: Sync, tags: Tags, app: ImageReference, entry: str, expected: list[str]
    ) -> None:
        done = sync(f"to: HOST/mirror\nimages:\n  - {entry}\n")
        assert (done.code, done.err) == (0, "")
        assert tags("mirror/PATH/app") == expected
        assert done.lines[-1] == f"{len(expected)} copied"

    def test_sync_says_what_it_has_copied(self, sync: Sync, app: ImageReference, registry: RegistryProcess) -> None:
        done = sync("to: HOST/mirror\nimages: ['HOST/PATH/app:stable']")
        assert done.lines == [
            f"copied {app.name}:stable to {registry.host}/mirror/{app.path}:stable: {TWO.digest}",
            "1 copied",
        ]

    def test_sync_again_copies_nothing(self, sync: Sync, app: ImageReference, other: ImageReference) -> None:
        text = "to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: ['1.*']}, {from: HOST/PATH/other}]"
        assert sync(text).lines[-1] == "4 copied"
        done = sync(text)
        assert (done.code, done.lines) == (0, ["4 up to date"])

    def test_sync_follows_a_tag_that_has_moved(
        self, sync: Sync, publish: Publish, entrepot: Entrepot, app: ImageReference
    ) -> None:
        text = "to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: [1.*, stable], exclude: '*-debug'}]"
        sync(text)
        publish(ONE, app.path, "stable")
        assert sync(text).lines[-1] == "1 copied, 2 up to date"
        assert entrepot("digest", f"{app.domain}/mirror/{app.path}:stable").out == f"{ONE.digest}\n"

    def test_sync_of_what_is_missing_only_leaves_a_tag_that_has_moved(
        self, sync: Sync, publish: Publish, entrepot: Entrepot, app: ImageReference
    ) -> None:
        sync("to: HOST/mirror\nimages: ['HOST/PATH/app:stable']")
        publish(ONE, app.path, "stable")
        done = sync("to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: [1.0.0, stable]}]", "--only-missing")
        assert done.lines[-1] == "1 copied, 1 left alone"
        assert entrepot("digest", f"{app.domain}/mirror/{app.path}:stable").out == f"{TWO.digest}\n"

    def test_sync_dry_says_what_it_would_do_and_does_nothing(self, sync: Sync, tags: Tags, app: ImageReference) -> None:
        sync("to: HOST/mirror\nimages: ['HOST/PATH/app:1.0.0']")
        done = sync("to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: [1.0.0, stable]}]", "--dry-run")
        target = f"{app.domain}/mirror/{app.path}:stable"
        assert (done.code, done.lines) == (
            0,
            [f"would copy {app.name}:stable to {target}: {TWO.digest}", "1 up to date, 1 would be copied"],
        )
        assert tags("mirror/PATH/app") == ["1.0.0"]

    def test_sync_platforms_copies_that_image(self, sync: Sync, entrepot: Entrepot, other: ImageReference) -> None:
        text = "to: HOST/mirror\nimages: [{from: HOST/PATH/other, platforms: linux/arm64}]"
        assert sync(text).code == 0
        assert entrepot("digest", f"{other.domain}/mirror/{other.path}:v1").out == f"{MULTI.children[1].digest}\n"
        assert sync(text).lines == ["1 up to date"]

    def test_sync_referrers_takes_them_along_and_later_ones_too(
        self, sync: Sync, publish: Publish, entrepot: Entrepot, app: ImageReference
    ) -> None:
        text = "to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: 1.0.0, referrers: true}]"
        sync(text)
        publish(SIGNATURE, app.path, "signature")
        assert sync(text).code == 0
        mirror = f"{app.domain}/mirror/{app.path}:1.0.0"
        assert entrepot("referrers", "--format", "{{.Digest}}", mirror).out == f"{SIGNATURE.digest}\n"

    @pytest.mark.parametrize("entry", ["'HOST/PATH/app@{}'", "{{from: HOST/PATH/app, digests: ['{}']}}"])
    def test_sync_digests_copies_these_images(
        self, sync: Sync, entrepot: Entrepot, app: ImageReference, entry: str
    ) -> None:
        done = sync(f"to: HOST/mirror\nimages: [{entry.format(ONE.digest)}]")
        assert (done.code, done.lines[-1]) == (0, "1 copied")
        assert entrepot("digest", f"{app.domain}/mirror/{app.path}@{ONE.digest}").code == 0

    def test_sync_to_the_store_keeps_the_names(self, sync: Sync, entrepot: Entrepot, app: ImageReference) -> None:
        assert sync("to: 'store:'\nimages: ['HOST/PATH/app:stable']").code == 0
        assert entrepot("images", "--format", "{{.Repository}}:{{.Tag}}").lines == [f"{app.name}:stable"]

    def test_sync_to_folders_and_back(self, sync: Sync, tags: Tags, app: ImageReference, tmp_path: Path) -> None:
        assert sync(f"to: oci:{tmp_path}/backup\nimages: [{{from: HOST/PATH/app, tags: 1.*}}]").code == 0
        done = sync(f"images: [{{from: 'oci:{tmp_path}/backup/PATH/app', to: HOST/PATH/back}}]")
        assert (done.code, done.err) == (0, "")
        assert tags("PATH/back") == ["1.0.0", "1.1.0", "1.1.0-debug"]

    def test_sync_with_destination_of_its_own(self, sync: Sync, tags: Tags, app: ImageReference) -> None:
        text = "to: HOST/mirror\nimages: [{from: 'HOST/PATH/app:stable', to: HOST/PATH/elsewhere}]"
        assert sync(text).code == 0
        assert tags("PATH/elsewhere") == ["stable"]

    def test_sync_to_destination_given_on_the_command_line(
        self, sync: Sync, tags: Tags, app: ImageReference, registry: RegistryProcess, path: str
    ) -> None:
        assert sync("to: HOST/no\nimages: ['HOST/PATH/app:stable']", f"{registry.host}/{path}/to", "--scoped").code == 0
        stored = registry.host.replace(":", "__")
        assert tags(f"PATH/to/{stored}/PATH/app") == ["stable"]

    def test_sync_of_an_empty_list_says_so(self, sync: Sync) -> None:
        done = sync("to: HOST/mirror\nimages: []")
        assert (done.code, done.out) == (0, "nothing to copy\n")


class TestFailures:
    TEXT = "to: HOST/mirror\nimages: ['HOST/PATH/none:v1', 'HOST/PATH/app:none', 'HOST/PATH/app:stable']"

    def test_sync_stops_at_the_first_failure(self, sync: Sync, app: ImageReference) -> None:
        done = sync(self.TEXT)
        assert (done.code, done.lines) == (1, ["1 failed"])
        source = app.name.replace("/app", "/none:v1")
        assert f"Error: {source} to {app.domain}/mirror/" in done.err
        assert f"{source} not found" in done.err

    def test_sync_that_keeps_going_copies_the_rest_and_fails(self, sync: Sync, tags: Tags, app: ImageReference) -> None:
        done = sync(self.TEXT, "--keep-going")
        assert (done.code, done.lines[-1]) == (1, "1 copied, 2 failed")
        assert done.err.count("Error: ") == 2
        assert tags("mirror/PATH/app") == ["stable"]

    def test_sync_of_patterns_that_fit_nothing_fails(self, sync: Sync, app: ImageReference) -> None:
        done = sync("to: HOST/mirror\nimages: [{from: HOST/PATH/app, tags: 9.*}]")
        assert (done.code, done.lines) == (1, ["1 failed"])
        assert "has no tag that the list asks for" in done.err

    def test_sync_of_two_sources_to_one_name_is_warned_of(self, sync: Sync, publish: Publish, path: str) -> None:
        publish(ONE, f"{path}/a/app", "v1")
        publish(TWO, f"{path}/b/app", "v2")
        done = sync("HOST:\n  images:\n    PATH/a/app: [v1]\n    PATH/b/app: [v2]\n", "oci:" + path, "--dry-run")
        assert f"oci:{path}/app is the target of another source too; --scoped tells them apart" in done.err


class TestSkopeoForm:
    def test_sync_reads_all_of_skopeo_s_ways_to_choose(
        self, sync: Sync, tags: Tags, app: ImageReference, other: ImageReference, registry: RegistryProcess, path: str
    ) -> None:
        done = sync(
            "HOST:\n"
            "  tls-verify: false\n"
            "  images:\n"
            "    PATH/other: []\n"
            f"    PATH/app: [stable, '{ONE.digest}']\n"
            "  images-by-tag-regex:\n"
            "    PATH/app: ^1\\.0\n"
            "  images-by-semver:\n"
            "    PATH/app: '>= 2.0.0'\n",
            f"{registry.host}/{path}/mirror",
        )
        assert (done.code, done.err) == (0, "")
        assert tags("PATH/mirror/other") == ["v1"]
        assert tags("PATH/mirror/app") == ["1.0.0", "2.0.0", "stable"]
        assert done.lines[-1] == "5 copied"

    def test_sync_scoped_keeps_whole_names(
        self, sync: Sync, tags: Tags, app: ImageReference, registry: RegistryProcess, path: str
    ) -> None:
        done = sync("HOST: {images: {PATH/app: [stable]}}", f"{registry.host}/{path}/mirror", "--scoped")
        assert done.code == 0
        assert tags(f"PATH/mirror/{registry.host.replace(':', '__')}/PATH/app") == ["stable"]

    def test_sync_takes_numbers_as_they_are_written(
        self, sync: Sync, publish: Publish, tags: Tags, registry: RegistryProcess, path: str
    ) -> None:
        publish(ONE, f"{path}/numbers", "1.10", "0x10", "1_0")
        done = sync("HOST: {images: {PATH/numbers: [1.10, 0x10, 1_0]}}", f"{registry.host}/{path}/mirror")
        assert done.code == 0
        assert tags("PATH/mirror/numbers") == ["0x10", "1.10", "1_0"]


class TestLogins:
    @pytest.mark.parametrize("form", ["ours", "skopeo's"])
    def test_sync_logs_in_as_the_list_says(
        self, sync: Sync, tags: Tags, app: ImageReference, registry: RegistryProcess, path: str, form: str
    ) -> None:
        texts = {
            "ours": "to: HOST/PATH/mirror\n"
            "registries: {GUARD: {username: bob, password: hunter2}}\n"
            "images: ['GUARD/PATH/app:stable']\n",
            "skopeo's": "GUARD:\n  credentials: {username: bob, password: hunter2}\n  images: {PATH/app: [stable]}\n",
        }
        with GuardedRegistry(registry.host, Rules()) as guarded:
            done = sync(texts[form].replace("GUARD", guarded.host), f"{registry.host}/{path}/mirror")
            again = sync(texts[form].replace("GUARD", guarded.host).replace("hunter2", "wrong"), f"{registry.host}/x")
        assert (done.code, done.err) == (0, "")
        assert again.code == 1
        assert "wrong" not in again.err.replace("or a wrong", "")


BAD_LISTS = {
    "no yaml": ("to: [", 1, "invalid YAML"),
    "later line": ("to: HOST/x\nimages:\n  - a\n b: [", 4, "invalid YAML"),
    "empty": ("", 1, "expected a list of images, got nothing"),
    "text": ("hello", 1, "expected a mapping of keys to values, got 'hello'"),
    "unknown key": ("to: HOST/x\nimages:\n  - from: a\n    tag: b\n", 4, "unknown key 'tag'; expected one of from, to"),
    "unknown top key": ("to: HOST/x\nimages: []\nsources: []\n", 3, "unknown key 'sources'"),
    "twice": ("to: HOST/x\nimages: []\nto: HOST/y\n", 3, "the key 'to' is there twice"),
    "no from": ("to: HOST/x\nimages:\n  - tags: [a]\n", 3, "expected from"),
    "bad name": ("to: HOST/x\nimages:\n  - Bad\n", 3, "must be lowercase"),
    "bad tag": ("to: HOST/x\nimages:\n  - a:-b\n", 3, "got the tag '-b'"),
    "bad regex": ("to: HOST/x\nimages:\n  - from: a\n    regex: (\n", 4, "invalid regular expression"),
    "bad range": ("to: HOST/x\nimages:\n  - from: a\n    semver: new\n", 4, "invalid range of versions"),
    "bad number": ("to: HOST/x\nimages:\n  - from: a\n    newest: 0\n", 4, "expected a number from 1, got '0'"),
    "bad flag": ("to: HOST/x\nimages:\n  - from: a\n    referrers: maybe\n", 4, "expected true or false, got 'maybe'"),
    "bad platform": ("to: HOST/x\nimages:\n  - from: a\n    platforms: [a/b/c/d]\n", 4, "invalid platform"),
    "bad digest": ("to: HOST/x\nimages:\n  - from: a\n    digests: [sha256:1]\n", 4, "invalid digest"),
    "tag and tags": ("to: HOST/x\nimages:\n  - from: a:b\n    tags: [c]\n", 3, "expected a repository without tag"),
    "nowhere": ("images:\n  - a\n", 2, "nothing says where this goes"),
    "bad place": ("to: oci-archive:x\nimages:\n  - a\n", 3, "expected"),
    "a list in a list": ("to: HOST/x\nimages:\n  - from: a\n    tags: [[b]]\n", 4, "expected a text, got a list"),
    "half a login": ("to: HOST/x\nregistries:\n  h.io: {username: a}\nimages: []", 3, "both or none of them"),
    "bad host": ("to: HOST/x\nregistries:\n  h.io/x: {}\nimages: []", 3, "expected a registry"),
    "skopeo's key": ("h.io:\n  image: {a: []}\n", 2, "unknown key 'image'"),
    "skopeo's regex": ("h.io:\n  images-by-tag-regex: {a: [b]}\n", 2, "expected a text, got a list"),
    "cycle": ("to: HOST/x\nimages: &a [*a]\n", 2, "nested too deeply"),
    "laughs": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        1,
        "too many values",
    ),
}


@pytest.mark.parametrize(("text", "line", "said"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_sync_of_a_list_that_is_none_names_the_line(
    sync: Sync, tmp_path: Path, text: str, line: int, said: str
) -> None:
    done = sync(text)
    assert said in done.err
    assert f"{tmp_path}/list.yaml:{line}: " in done.err
    assert (done.code, done.out) == (1, "")


def test_sync_without_list_says_so(entrepot: Entrepot, tmp_path: Path) -> None:
    done = entrepot("sync", "-f", str(tmp_path / "none.yaml"))
    assert (done.code, done.err) == (1, f"Error: No such file or directory: {tmp_path}/none.yaml\n")


def test_sync_of_a_huge_list_is_refused(entrepot: Entrepot, tmp_path: Path) -> None:
    (tmp_path / "huge.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    done = entrepot("sync", "-f", str(tmp_path / "huge.yaml"))
    assert (done.code, done.out) == (1, "")
    assert "a list may have" in done.err


def lists_in_the_docs() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "sync.md").read_text("utf-8")
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize(("number", "rules"), [(0, 5), (1, 4)], ids=["ours", "skopeo's"])
def test_lists_in_the_docs_are_read(tmp_path: Path, number: int, rules: int) -> None:
    (tmp_path / "list.yaml").write_text(lists_in_the_docs()[number])
    found = read_list(tmp_path / "list.yaml", "localhost:5000/to" if number else None, scoped=False)
    assert len(found.rules) == rules
    assert found.insecure == {"registry.example.com" if number else "old.example.com"}
    assert found.logins["registry.example.com"].username == "anna"


PIECES = [
    *("to: h.io/x\n", "images:\n", "  - ", "from: ", "a", ":", " ", "\n", "tags: ", "[", "]", "{", "}", "*a", "&a "),
    *("'", '"', "semver: ^1\n", "h.io", "  ", "!!binary x", "<<: ", "? ", "- ", "null", "%YAML 1.1\n---\n", "\t"),
    *("\x00", "\ud83d", "é"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_read_list_of_anything_gives_rules_or_says_what_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes("".join(pieces).encode("utf-8", "surrogatepass"))
    said = str(file)
    try:
        read_list(file, "localhost:5000/to", scoped=False)
    except ConfigInvalid as error:
        said = error.message
    assert str(file) in said
