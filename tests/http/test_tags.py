"""Lists of tags, repositories and search results (distribution-spec, "Listing tags"; docker's catalog and search)."""

from __future__ import annotations

import pytest

from entrepot.testing.images import EMPTY_CONFIG

from .api import Api, next_page, refused
from .conftest import Registry

UNSORTED = ["b", "B", "_", "a-1", "a.1", "a1", "10", "9", "a", "A"]
SORTED = ["10", "9", "A", "B", "_", "a", "a-1", "a.1", "a1", "b"]
BAD_COUNTS = pytest.mark.parametrize("count", ["-1", "+1", "1.0", "x", "", "1_0", "%D9%A1", " 1", "0x1"])


async def with_tags(repo: Api, tags: list[str]) -> None:
    content = await repo.push_document()
    answer = await repo.put_manifest(f"{content.digest}?{'&'.join(f'tag={tag}' for tag in tags)}", content)
    assert answer.status_code == 201


async def tags_of(repo: Api, query: str = "") -> list[str]:
    answer = await repo.get(f"tags/list{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    tags: list[str] = answer.json()["tags"]
    return tags


async def walk(repo: Api, path: str, member: str) -> list[list[str]]:
    """All pages from ``path`` on, each by the Link of the one before."""
    pages: list[list[str]] = []
    following: str | None = path
    while following is not None:
        answer = await repo.get(following)
        assert answer.status_code == 200
        pages.append(answer.json()[member])
        following = next_page(answer)
    return pages


async def test_list_tags_names_the_repository_and_its_tags(repo: Api) -> None:
    await with_tags(repo, ["v1", "v2"])
    assert (await repo.get("tags/list")).json() == {"name": repo.name, "tags": ["v1", "v2"]}


async def test_list_tags_of_repository_without_any_is_empty_list(repo: Api) -> None:
    await repo.push_document()
    assert (await repo.get("tags/list")).text == f'{{"name":"{repo.name}","tags":[]}}'


async def test_list_tags_of_repository_with_blobs_only_is_empty_list(repo: Api) -> None:
    await repo.push_blob(b"a layer")
    assert await tags_of(repo) == []


async def test_list_tags_of_unknown_repository_is_refused(repo: Api) -> None:
    refused(await repo.get("tags/list"), 404, "NAME_UNKNOWN")


@pytest.mark.parametrize("query", ["?n=0", "?n=10&last=x"])
async def test_list_tags_of_unknown_repository_with_paging_is_refused(repo: Api, query: str) -> None:
    refused(await repo.get(f"tags/list{query}"), 404, "NAME_UNKNOWN")


async def test_list_tags_is_in_byte_order(repo: Api) -> None:
    await with_tags(repo, UNSORTED)
    assert await tags_of(repo) == SORTED


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?n=3", SORTED[:3]),
        ("?n=10", SORTED),
        ("?n=11", SORTED),
        ("?n=99999999999999999999999", SORTED),
        ("?n=3&last=B", SORTED[4:7]),
        ("?last=B&n=3", SORTED[4:7]),
        ("?last=a1", ["b"]),
        ("?last=b", []),
        ("?last=zzz", []),
        ("?last=a-0", SORTED[6:]),
        ("?last=%5F", SORTED[5:]),
        ("?last=", SORTED),
        ("?n=0", []),
        ("?n=0&last=a", []),
    ],
)
async def test_list_tags_by_count_and_last(repo: Api, query: str, expected: list[str]) -> None:
    await with_tags(repo, UNSORTED)
    assert await tags_of(repo, query) == expected


async def test_list_tags_after_a_tag_that_was_deleted_goes_on_there(repo: Api) -> None:
    await with_tags(repo, ["a", "b", "c"])
    await repo.delete("manifests/b")
    assert await tags_of(repo, "?n=1&last=b") == ["c"]


@pytest.mark.parametrize("count", [1, 3, 5, 9])
async def test_list_tags_page_by_page_gives_each_once(repo: Api, count: int) -> None:
    await with_tags(repo, UNSORTED)
    pages = await walk(repo, f"tags/list?n={count}", "tags")
    assert [tag for page in pages for tag in page] == SORTED
    assert {len(page) for page in pages[:-1]} <= {count}
    assert 1 <= len(pages[-1]) <= count


@pytest.mark.parametrize("query", ["", "?n=10", "?n=0", "?n=4&last=_", "?last=_"])
async def test_list_tags_with_nothing_to_follow_has_no_link(repo: Api, query: str) -> None:
    await with_tags(repo, UNSORTED[:8] if "4" in query else UNSORTED)
    assert next_page(await repo.get(f"tags/list{query}")) is None


async def test_list_tags_link_is_relative_and_carries_count_and_last(repo: Api) -> None:
    await with_tags(repo, UNSORTED)
    answer = await repo.get("tags/list?n=2")
    assert answer.headers.get_list("link") == [f'</v2/{repo.name}/tags/list?n=2&last=9>; rel="next"']


@BAD_COUNTS
async def test_list_tags_by_count_that_is_no_number_is_refused(repo: Api, count: str) -> None:
    await repo.push_document()
    errors = refused(await repo.get(f"tags/list?n={count}"), 400, "UNSUPPORTED")
    assert errors[0]["detail"]["parameter"] == "n"


async def test_list_tags_by_head_has_the_headers_of_get(repo: Api) -> None:
    await with_tags(repo, ["v1"])
    answer, other = await repo.head("tags/list"), await repo.get("tags/list")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == other.headers["content-length"]


async def test_list_tags_over_the_page_size_is_cut_with_a_link(registry: Registry) -> None:
    async with registry({"limits.page_size": 4}) as repo:
        await with_tags(repo, UNSORTED)
        assert [len(page) for page in await walk(repo, "tags/list", "tags")] == [4, 4, 2]
        assert [len(page) for page in await walk(repo, "tags/list?n=1000", "tags")] == [4, 4, 2]


# --- catalog ---


async def test_list_repositories_is_in_byte_order_and_pages(repo: Api) -> None:
    names = sorted(f"{repo.name}/{end}" for end in ("b", "a", "a-b", "a/b", "a.b", "a_b", "9", "c"))
    for name in reversed(names):
        await Api(repo.client, name).push_blob(b"x")
    answer = await repo.get(f"/v2/_catalog?n=3&last={repo.name.replace('/', '%2F')}")
    assert (answer.headers["content-type"], answer.json()) == ("application/json", {"repositories": names[:3]})
    second = await repo.get(next_page(answer) or "")
    assert second.json() == {"repositories": names[3:6]}


async def test_list_repositories_of_empty_registry_is_empty_list(registry: Registry) -> None:
    async with registry() as repo:
        assert (await repo.get("/v2/_catalog")).text == '{"repositories":[]}'


async def test_list_repositories_page_by_page_gives_each_once(registry: Registry) -> None:
    async with registry() as repo:
        names = [f"r{number:02}" for number in range(10)]
        for name in names:
            await Api(repo.client, name).push_blob(b"x")
        pages = await walk(repo, "/v2/_catalog?n=4", "repositories")
        assert pages == [names[:4], names[4:8], names[8:]]
        assert next_page(await repo.get("/v2/_catalog")) is None


async def test_list_repositories_without_upload_finished_leaves_it_out(registry: Registry) -> None:
    async with registry() as repo:
        await repo.begin()
        assert (await repo.get("/v2/_catalog")).json() == {"repositories": []}


async def test_list_repositories_after_everything_was_deleted_leaves_it_out(registry: Registry) -> None:
    async with registry() as repo:
        content = await repo.push_document(reference="v1")
        assert (await repo.get("/v2/_catalog")).json() == {"repositories": [repo.name]}
        await repo.delete(f"manifests/{content.digest}")
        await repo.delete(f"blobs/{EMPTY_CONFIG.digest}")
        assert (await repo.get("/v2/_catalog")).json() == {"repositories": []}


@pytest.mark.parametrize("query", ["?n=0", "?n=0&last=a"])
async def test_list_no_repositories_is_empty_list_without_link(repo: Api, query: str) -> None:
    await repo.push_blob(b"x")
    answer = await repo.get(f"/v2/_catalog{query}")
    assert (answer.json(), next_page(answer)) == ({"repositories": []}, None)


@BAD_COUNTS
async def test_list_repositories_by_count_that_is_no_number_is_refused(repo: Api, count: str) -> None:
    refused(await repo.get(f"/v2/_catalog?n={count}"), 400, "UNSUPPORTED")


# --- docker search ---


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ping_v1_is_200_so_that_docker_searches_here(repo: Api, method: str) -> None:
    assert (await repo.request(method, "/v1/_ping")).status_code == 200


@pytest.mark.parametrize("query", ["q={}", "q={}&n=25", "q=%20{}%20"])
async def test_search_finds_repositories_by_part_of_their_name(repo: Api, query: str) -> None:
    await Api(repo.client, f"{repo.name}-needle/x").push_blob(b"x")
    answer = await repo.get(f"/v1/search?{query.format(repo.name + '-need')}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "num_results": 1,
        "query": f"{repo.name}-need",
        "results": [
            {
                "name": f"{repo.name}-needle/x",
                "description": "",
                "star_count": 0,
                "is_official": False,
                "is_automated": False,
            }
        ],
    }


@pytest.mark.parametrize("text", ["%25", "_", "zzz%00", "%5C", "nothing+like+this"])
async def test_search_for_what_no_name_contains_finds_nothing(registry: Registry, text: str) -> None:
    async with registry() as repo:
        await repo.push_blob(b"x")
        assert (await repo.get(f"/v1/search?q={text}")).json()["results"] == []


async def test_search_gives_as_many_as_asked_for(registry: Registry) -> None:
    async with registry() as repo:
        for number in range(5):
            await Api(repo.client, f"app{number}").push_blob(b"x")
        assert (await repo.get("/v1/search?q=app&n=3")).json()["num_results"] == 3
        assert (await repo.get("/v1/search")).json()["num_results"] == 5


async def test_search_with_bad_count_is_refused(repo: Api) -> None:
    refused(await repo.get("/v1/search?q=x&n=many"), 400, "UNSUPPORTED")
