from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.errors import ConfigInvalid
from entrepot.transport.registries_conf import Mirror, Rule, Rules, read_rules


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def read(folder: Path, text: str) -> Rules:
    return read_rules(system=folder, user=folder, named=write(folder, "registries.conf", text))


def find(rules: Rules, name: str) -> Rule:
    rule = rules.find(name)
    assert rule is not None
    return rule


def registry(prefix: str) -> str:
    return f'[[registry]]\nprefix = "{prefix}"\n'


def test_read_rules_reads_every_key(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        """
        unqualified-search-registries = ["docker.io"]

        [[registry]]
        prefix = "example.com/foo"
        insecure = true
        blocked = true
        location = "internal.example/bar/"

        [[registry.mirror]]
        location = "m0.example/mirror-for-foo"

        [[registry.mirror]]
        location = "m1.example"
        insecure = true
        pull-from-mirror = "tag-only"

        [[registry]]
        location = "plain.example"
        mirror-by-digest-only = true

        [[registry.mirror]]
        location = "m2.example"

        [aliases]
        "alpine" = "docker.io/library/alpine"
        """,
    )

    assert find(rules, "example.com/foo/x") == Rule(
        prefix="example.com/foo",
        file=tmp_path / "registries.conf",
        location="internal.example/bar",
        insecure=True,
        blocked=True,
        mirrors=(
            Mirror(location="m0.example/mirror-for-foo"),
            Mirror(location="m1.example", insecure=True, pulls="tag-only"),
        ),
    )
    assert find(rules, "plain.example/x").mirrors == (Mirror(location="m2.example", pulls="digest-only"),)
    assert find(rules, "plain.example").location == ""


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        pytest.param("example.com", "example.com", id="registry alone"),
        pytest.param("example.com/a", "example.com", id="below the registry"),
        pytest.param("example.com/foo", "example.com/foo", id="itself"),
        pytest.param("example.com/foo/a/b", "example.com/foo", id="below a namespace"),
        pytest.param("example.com/foobar", "example.com", id="begins the same"),
        pytest.param("example.com/foo/bar/x", "example.com/foo/bar", id="the longest"),
        pytest.param("example.com:5000/foo", None, id="another port"),
        pytest.param("a.sub.example/x", "*.sub.example", id="below a star"),
        pytest.param("a.b.sub.example:5000/x", "*.sub.example", id="far below a star, with a port"),
        pytest.param("sub.example/x", None, id="the star is not nothing"),
        pytest.param("c.sub.example/x", "c.sub.example", id="exact before a star"),
        pytest.param("mysub.example/x", None, id="ends the same"),
        pytest.param("docker.io/library/nginx", "docker.io/library/nginx", id="official"),
    ],
)
def test_find_rule_takes_the_longest_match(tmp_path: Path, name: str, prefix: str | None) -> None:
    prefixes = (
        "example.com", "example.com/foo/bar", "example.com/foo", "*.sub.example", "c.sub.example",
        "docker.io/library/nginx",
    )  # fmt: skip
    rule = read(tmp_path, "".join(registry(prefix) for prefix in prefixes)).find(name)

    assert (rule.prefix if rule else None) == prefix


@pytest.mark.parametrize(
    ("prefix", "location", "name", "moved"),
    [
        pytest.param("example.com", "i.example", "example.com/a/b", "i.example/a/b", id="registry"),
        pytest.param("example.com/foo", "i.example/bar", "example.com/foo/a", "i.example/bar/a", id="namespace"),
        pytest.param("example.com/foo", "i.example/bar", "example.com/foo", "i.example/bar", id="repository"),
        pytest.param("example.com", "i.example/bar", "example.com/a", "i.example/bar/a", id="into a namespace"),
        pytest.param("example.com/foo", "i.example", "example.com/foo/a", "i.example/a", id="out of a namespace"),
        pytest.param("*.sub.example", "i.example", "a.sub.example/x", "i.example/x", id="star"),
        pytest.param("*.sub.example", "", "a.sub.example/x", "a.sub.example/x", id="nowhere else"),
    ],
)
def test_moved_name_begins_with_location(prefix: str, location: str, name: str, moved: str) -> None:
    assert Rule(prefix=prefix, file=Path("x")).moved(name, location) == moved


@pytest.mark.parametrize(
    ("pulls", "by_digest", "by_tag"),
    [("all", True, True), ("digest-only", True, False), ("tag-only", False, True)],
)
def test_mirror_serves_what_it_is_for(pulls: str, by_digest: bool, by_tag: bool) -> None:
    mirror = Mirror(location="m.example", pulls=pulls)

    assert (mirror.serves(by_digest=True), mirror.serves(by_digest=False)) == (by_digest, by_tag)


def folders(root: Path) -> tuple[Path, Path]:
    return root / "system", root / "user"


def prefixes(rules: Rules) -> list[str]:
    return [rule.prefix for rule in rules._rules]


def test_read_rules_of_the_system_and_all_drop_ins_in_order(tmp_path: Path) -> None:
    system, user = folders(tmp_path)
    write(system, "registries.conf", registry("a.example"))
    write(system, "registries.conf.d/02.conf", registry("c.example"))
    write(system, "registries.conf.d/01.conf", registry("b.example"))
    write(system, "registries.conf.d/03.txt", registry("no.example"))
    write(user, "registries.conf.d/01.conf", registry("d.example"))

    assert prefixes(read_rules(system=system, user=user)) == ["a.example", "b.example", "c.example", "d.example"]


def test_read_rules_of_the_user_stand_for_those_of_the_system(tmp_path: Path) -> None:
    system, user = folders(tmp_path)
    write(system, "registries.conf", registry("a.example"))
    write(system, "registries.conf.d/01.conf", registry("b.example"))
    write(user, "registries.conf", registry("c.example"))
    write(user, "registries.conf.d/01.conf", registry("d.example"))

    assert prefixes(read_rules(system=system, user=user)) == ["c.example", "d.example"]


def test_read_rules_replaces_a_rule_with_the_same_prefix(tmp_path: Path) -> None:
    system, user = folders(tmp_path)
    write(system, "registries.conf", registry("a.example") + "insecure = true\n")
    write(system, "registries.conf.d/01.conf", registry("a.example") + "blocked = true\n")
    rule = find(read_rules(system=system, user=user), "a.example/x")

    assert (rule.insecure, rule.blocked) == (False, True)


def test_read_rules_of_no_files_are_none(tmp_path: Path) -> None:
    assert prefixes(read_rules(system=tmp_path / "a", user=tmp_path / "b")) == []


def test_read_rules_of_version_1_are_insecure_and_blocked(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        """
        [registries.search]
        registries = ["docker.io"]
        [registries.insecure]
        registries = ["a.example", "b.example"]
        [registries.block]
        registries = ["b.example"]
        """,
    )

    assert find(rules, "a.example/x").insecure
    assert not find(rules, "a.example/x").blocked
    assert find(rules, "b.example/x").blocked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("registry = 5", "registry: expected tables, each beginning with [[registry]]", id="registry"),
        pytest.param("[[registry]]\ninsecure = true", "registry[0].prefix: expected a registry", id="no name"),
        pytest.param(registry("a.*.example"), "registry[0].prefix: expected * only as the first", id="star inside"),
        pytest.param(registry("*.example/x"), "registry[0].prefix: expected * only as the first", id="star and path"),
        pytest.param(
            registry("a") + registry("b") + "insecure = 1", "registry[1].insecure: expected true or false", id="flag"
        ),
        pytest.param('[[registry]]\nlocation = "https://a"', "location: expected a registry without", id="address"),
        pytest.param(
            registry("a") + "[[registry.mirror]]\n", "registry[0].mirror[0].location: expected a registry", id="mirror"
        ),
        pytest.param(
            registry("a") + '[[registry.mirror]]\nlocation = "m"\npull-from-mirror = "x"',
            "registry[0].mirror[0].pull-from-mirror: expected",
            id="pulls",
        ),
        pytest.param(
            registry("a")
            + 'mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m"\npull-from-mirror = "all"',
            "pull-from-mirror: expected nothing where mirror-by-digest-only is set",
            id="both",
        ),
        pytest.param("registry = [", "expected TOML: ", id="no TOML"),
    ],
)
def test_read_rules_with_wrong_value_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, text)

    assert caught.value.message.startswith(f"{tmp_path / 'registries.conf'}: ")
    assert message in caught.value.message
