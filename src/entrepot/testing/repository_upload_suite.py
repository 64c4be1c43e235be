"""The half of a repository's contract that is about uploads; ``repository_suite`` includes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    ClientGone,
    DigestInvalid,
    NotFound,
    RequestTimeout,
    SizeInvalid,
    UploadBusy,
    UploadRangeInvalid,
    UploadUnknown,
)
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Blob, Chunk, Registry, Repository

NAME = RepositoryName.parse("team/app")
OTHER = RepositoryName.parse("team/other")
CONTENT = b"0123456789"
DIGEST = Digest.of(CONTENT)
UNKNOWN_ID = "7f4f1d0e-1111-4222-8333-444455556666"
RequireEmpty = Callable[[], Awaitable[None]]


async def pieces(*parts: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    """The parts as a request body brings them; ``then`` is raised after the last."""
    for part in parts:
        yield part
    if then is not None:
        raise then


def chunk(*parts: bytes, start: int | None = None, length: int | None = None) -> Chunk:
    """A chunk made of these parts."""
    return Chunk(pieces(*parts), start=start, length=length)


async def read(blob: Blob, *, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of a blob, or a range of them."""
    async with blob.open(start=start, end=end) as parts:
        return b"".join([bytes(part) async for part in parts])


class RepositoryUploadSuite:
    """What the uploads of every repository do."""

    @pytest.fixture
    def registry(self) -> Registry:
        """A fresh registry. An upload that is held must not be waited for longer than a second."""
        raise NotImplementedError("bind the suite with a fixture named registry")

    @pytest.fixture
    def require_empty(self, registry: Registry) -> RequireEmpty:
        """Fails when anything is left; override it to look behind the contract, e.g. for bytes without a name."""

        async def require() -> None:
            assert (await registry.list_repositories(limit=1)).items == []

        return require

    @pytest.fixture
    def repository(self, registry: Registry) -> Repository:
        return registry.repository(NAME)

    # in one request

    @pytest.mark.parametrize("content", [b"", CONTENT, bytes(3_000_000)], ids=["empty", "short", "long"])
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    async def test_put_blob_can_be_found_by_the_digest_it_was_put_under(
        self, repository: Repository, content: bytes, algorithm: str
    ) -> None:
        digest = Digest.of(content, algorithm)
        put = await repository.put_blob(digest, chunk(content, length=len(content)))
        found = await repository.find_blob(digest)
        assert (put.digest, put.size) == (found.digest, found.size) == (digest, len(content))
        assert await read(found) == content

    async def test_put_blob_with_wrong_digest_keeps_nothing(
        self, repository: Repository, require_empty: RequireEmpty
    ) -> None:
        with pytest.raises(DigestInvalid) as caught:
            await repository.put_blob(DIGEST, chunk(b"something else"))
        assert caught.value.detail["expected"] == DIGEST
        await require_empty()

    @pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) + 1], ids=["more", "less"])
    async def test_put_blob_of_wrong_length_keeps_nothing(
        self, repository: Repository, require_empty: RequireEmpty, length: int
    ) -> None:
        with pytest.raises(SizeInvalid) as caught:
            await repository.put_blob(DIGEST, chunk(CONTENT, length=length))
        assert caught.value.detail["expected"] == length
        await require_empty()

    async def test_put_blob_that_breaks_off_keeps_nothing(
        self, repository: Repository, require_empty: RequireEmpty
    ) -> None:
        with pytest.raises(ClientGone):
            await repository.put_blob(DIGEST, Chunk(pieces(CONTENT, then=ClientGone("gone"))))
        await require_empty()

    async def test_put_blob_that_is_cancelled_keeps_nothing(
        self, repository: Repository, require_empty: RequireEmpty
    ) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield bytes(2_000_000)
            reached.set()
            await asyncio.Event().wait()

        reached = asyncio.Event()
        putting = asyncio.create_task(repository.put_blob(DIGEST, Chunk(endless())))
        await reached.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await require_empty()

    async def test_put_blob_many_times_at_once_stores_it(self, registry: Registry) -> None:
        repositories = [registry.repository(RepositoryName.parse(f"team/app{number % 3}")) for number in range(12)]
        await asyncio.gather(*(each.put_blob(DIGEST, chunk(CONTENT)) for each in repositories))
        for repository in repositories:
            assert await read(await repository.find_blob(DIGEST)) == CONTENT

    # in several requests

    async def test_begin_upload_is_empty_and_no_blob(self, repository: Repository) -> None:
        upload_id = await repository.begin_upload()
        assert await repository.upload_offset(upload_id) == 0
        with pytest.raises(NotFound):
            await repository.find_blob(Digest.of(b""))

    @pytest.mark.parametrize("split", range(len(CONTENT) + 1))
    async def test_append_and_finish_upload_join_their_bytes(self, repository: Repository, split: int) -> None:
        upload_id = await repository.begin_upload()
        assert await repository.append(upload_id, chunk(CONTENT[:split], start=0)) == split
        assert await repository.upload_offset(upload_id) == split
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[split:], start=split))
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    @pytest.mark.parametrize("announced", ["sha256", "sha512"])
    @pytest.mark.parametrize("finished", ["sha256", "sha512"])
    async def test_finish_upload_by_any_algorithm_stores_it_under_that_name(
        self, repository: Repository, announced: str, finished: str
    ) -> None:
        upload_id = await repository.begin_upload(announced)
        for byte in CONTENT:
            await repository.append(upload_id, chunk(bytes([byte])))
        digest = Digest.of(CONTENT, finished)
        blob = await repository.finish_upload(upload_id, digest, chunk())
        assert (blob.digest, blob.size) == (digest, len(CONTENT))
        assert await read(await repository.find_blob(digest)) == CONTENT

    async def test_finish_upload_without_bytes_stores_the_empty_blob(self, repository: Repository) -> None:
        upload_id = await repository.begin_upload()
        await repository.finish_upload(upload_id, Digest.of(b""), chunk())
        assert await read(await repository.find_blob(Digest.of(b""))) == b""

    @pytest.mark.parametrize("start", [0, 4, 6, 99])
    async def test_append_elsewhere_than_at_the_end_is_refused_and_the_upload_lives_on(
        self, repository: Repository, start: int
    ) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT[:5]))
        with pytest.raises(UploadRangeInvalid) as caught:
            await repository.append(upload_id, chunk(b"xyz", start=start))
        assert caught.value.offset == 5
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[5:]))
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    @pytest.mark.parametrize("length", [4, 6], ids=["more", "less"])
    async def test_append_of_wrong_length_is_refused_and_the_upload_is_as_before(
        self, repository: Repository, length: int
    ) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT[:5]))
        with pytest.raises(SizeInvalid):
            await repository.append(upload_id, chunk(b"a", b"bcde", length=length))
        assert await repository.upload_offset(upload_id) == 5
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[5:], start=5))
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    async def test_append_of_much_and_of_wrong_length_is_refused_and_the_upload_is_as_before(
        self, repository: Repository
    ) -> None:
        """So much that a repository which saves its progress on the way has done so."""
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT[:5]))
        much = [bytes(2**20)] * 40
        with pytest.raises(SizeInvalid):
            await repository.append(upload_id, chunk(*much, length=40 * 2**20 - 1))
        assert await repository.upload_offset(upload_id) == 5
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[5:], start=5))

    @pytest.mark.parametrize("error", [ClientGone("gone"), RequestTimeout("stalled")], ids=["gone", "stalled"])
    @pytest.mark.parametrize("how", ["append", "finish"])
    async def test_upload_that_breaks_off_keeps_what_came(
        self, repository: Repository, error: Exception, how: str
    ) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT[:2]))
        torn = Chunk(pieces(CONTENT[2:4], CONTENT[4:7], then=error), length=8)
        with pytest.raises(type(error)):
            if how == "append":
                await repository.append(upload_id, torn)
            else:
                await repository.finish_upload(upload_id, DIGEST, torn)
        assert await repository.upload_offset(upload_id) == 7
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[7:], start=7))
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    async def test_append_that_is_cancelled_can_be_gone_on_with(self, repository: Repository) -> None:
        """What had come may have been kept or not; where to go on is for the repository to say."""

        async def endless() -> AsyncIterator[bytes]:
            yield CONTENT[5:7]
            reached.set()
            await asyncio.Event().wait()

        upload_id, reached = await repository.begin_upload(), asyncio.Event()
        await repository.append(upload_id, chunk(CONTENT[:5]))
        appending = asyncio.create_task(repository.append(upload_id, Chunk(endless())))
        await reached.wait()
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        offset = await repository.upload_offset(upload_id)
        assert offset in (5, 7)
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT[offset:], start=offset))

    async def test_finish_upload_with_wrong_digest_ends_it_and_keeps_nothing(
        self, repository: Repository, require_empty: RequireEmpty
    ) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT))
        with pytest.raises(DigestInvalid):
            await repository.finish_upload(upload_id, Digest.of(b"something else"), chunk())
        with pytest.raises(UploadUnknown):
            await repository.upload_offset(upload_id)
        await require_empty()

    async def test_upload_of_another_repository_is_unknown(self, registry: Registry, repository: Repository) -> None:
        upload_id = await repository.begin_upload()
        other = registry.repository(OTHER)
        for attempt in (
            other.upload_offset(upload_id),
            other.append(upload_id, chunk(CONTENT)),
            other.finish_upload(upload_id, DIGEST, chunk(CONTENT)),
            other.cancel_upload(upload_id),
        ):
            with pytest.raises(UploadUnknown):
                await attempt
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT))

    @pytest.mark.parametrize("end", ["finish", "cancel", "refuse", "never"])
    async def test_upload_that_has_ended_is_unknown(self, repository: Repository, end: str) -> None:
        upload_id = await _ended(repository, end)
        for attempt in (
            repository.upload_offset(upload_id),
            repository.append(upload_id, chunk(CONTENT)),
            repository.finish_upload(upload_id, DIGEST, chunk(CONTENT)),
            repository.cancel_upload(upload_id),
        ):
            with pytest.raises(UploadUnknown) as caught:
                await attempt
            assert caught.value.detail["upload"] == upload_id

    async def test_cancel_upload_keeps_nothing(self, repository: Repository, require_empty: RequireEmpty) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(CONTENT))
        await repository.cancel_upload(upload_id)
        await require_empty()

    # several requests at once

    @pytest.mark.parametrize("before", [b"", CONTENT[:5], CONTENT], ids=["nothing", "half", "all"])
    async def test_finish_upload_by_two_at_once_succeeds_for_one(self, repository: Repository, before: bytes) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(before))
        rest = CONTENT[len(before) :]
        closes = (repository.finish_upload(upload_id, DIGEST, chunk(rest, start=len(before))) for _ in range(2))
        outcomes = await asyncio.gather(*closes, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(refused) == 1
        assert isinstance(refused[0], UploadUnknown | UploadBusy)
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    async def test_append_by_many_at_once_never_mixes_their_bytes(self, repository: Repository) -> None:
        upload_id = await repository.begin_upload()
        parts = [bytes([number]) * 1000 for number in range(8)]
        appends = (repository.append(upload_id, chunk(part[:500], part[500:])) for part in parts)
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert all(isinstance(outcome, int | UploadBusy) for outcome in outcomes)
        kept = sorted((outcome, part) for outcome, part in zip(outcomes, parts, strict=True) if type(outcome) is int)
        assert [size for size, _ in kept] == [1000 * count for count in range(1, len(kept) + 1)]
        whole = b"".join(part for _, part in kept)
        blob = await repository.finish_upload(upload_id, Digest.of(whole), chunk())
        assert await read(blob) == whole

    async def test_append_by_many_at_the_same_place_succeeds_for_one(self, repository: Repository) -> None:
        upload_id = await repository.begin_upload()
        appends = (repository.append(upload_id, chunk(CONTENT, start=0)) for _ in range(8))
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert [outcome for outcome in outcomes if type(outcome) is int] == [10]
        assert all(isinstance(outcome, UploadRangeInvalid) for outcome in outcomes if outcome != 10)
        await repository.finish_upload(upload_id, DIGEST, chunk())

    async def test_cancel_upload_that_is_written_to_is_refused_or_ends_it(self, repository: Repository) -> None:
        upload_id, reached, go_on = await repository.begin_upload(), asyncio.Event(), asyncio.Event()
        await repository.append(upload_id, chunk(CONTENT[:5]))

        async def slow() -> AsyncIterator[bytes]:
            yield CONTENT[5:7]
            reached.set()
            await go_on.wait()
            yield CONTENT[7:]

        appending = asyncio.create_task(repository.append(upload_id, Chunk(slow())))
        await reached.wait()
        with pytest.raises(UploadBusy):
            await repository.cancel_upload(upload_id)
        go_on.set()
        assert await appending == 10
        await repository.cancel_upload(upload_id)
        with pytest.raises(NotFound):
            await repository.find_blob(DIGEST)

    async def test_status_of_upload_that_is_written_to_is_what_is_kept(self, repository: Repository) -> None:
        upload_id, reached, go_on = await repository.begin_upload(), asyncio.Event(), asyncio.Event()
        await repository.append(upload_id, chunk(CONTENT[:5]))

        async def slow() -> AsyncIterator[bytes]:
            yield CONTENT[5:]
            reached.set()
            await go_on.wait()

        appending = asyncio.create_task(repository.append(upload_id, Chunk(slow())))
        await reached.wait()
        asking = asyncio.create_task(repository.upload_offset(upload_id))
        go_on.set()
        await appending
        assert await asking in range(5, 11)
        assert await repository.upload_offset(upload_id) == 10


async def _ended(repository: Repository, how: str) -> str:
    if how == "never":
        return UNKNOWN_ID
    upload_id = await repository.begin_upload()
    if how == "finish":
        await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT))
        await repository.delete_blob(DIGEST)
    elif how == "refuse":
        with pytest.raises(DigestInvalid):
            await repository.finish_upload(upload_id, DIGEST, chunk(b"something else"))
    else:
        await repository.cancel_upload(upload_id)
    with pytest.raises((BlobUnknown, NotFound)):
        await repository.find_blob(DIGEST)
    return upload_id
