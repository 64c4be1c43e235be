"""The multipart upload behind an upload: its parts, some of them on their way, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import takewhile

from entrepot.errors import UploadUnknown
from entrepot.store.base import UploadPart
from entrepot.store.s3_body import PartBody
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_errors import code_of, is_session_gone
from entrepot.store.s3_keys import Session, new_session_nonce
from entrepot.store.threads import wait_out


class SessionGone(UploadUnknown):
    """The server knows no such multipart upload, or other parts than ours."""


class MultipartSession:
    """Begun with the first part. Several parts are on their way at once."""

    def __init__(self, bucket: S3Bucket, upload_id: str, session: Session | None, parts: Sequence[UploadPart]) -> None:
        self.session = session
        self._bucket = bucket
        self._upload_id = upload_id
        self._sizes = [part.size for part in parts]
        self._done: dict[int, UploadPart] = dict(enumerate(parts))
        self._hashes: dict[int, Mapping[str, bytes]] = {}  # where the part ends; of those sent by us
        self._running: dict[asyncio.Task[None], PartBody] = {}

    @property
    def count(self) -> int:
        """How many parts there are, sent or on their way."""
        return len(self._sizes)

    @property
    def size(self) -> int:
        """The bytes of all of them."""
        return sum(self._sizes)

    async def send(self, body: PartBody, hashes: Mapping[str, bytes]) -> None:
        """Send the next part in the background; ``hashes`` are the saved states where it ends.

        Waits while as many are on their way as may be. Raises what has become of an earlier one: Unavailable,
        StorageFull, SessionGone.
        """
        session = self.session or await self._begin()
        while len(self._running) >= self._bucket.options.parts_at_once:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            self._collect()
        number = self.count
        self._sizes.append(body.size)
        self._hashes[number] = hashes
        self._running[asyncio.create_task(self._send(session, number, body))] = body

    async def _begin(self) -> Session:
        nonce = new_session_nonce()
        key = self._bucket.keys.session_data(self._upload_id, Session(nonce, ""))
        answer = await self._bucket.client.call(
            "create_multipart_upload", doing="begin an upload", Key=key, **self._bucket.writing
        )
        self.session = Session(nonce, str(answer["UploadId"]))
        return self.session

    async def _send(self, session: Session, number: int, body: PartBody) -> None:
        answer = await self._bucket.client.ask(
            "upload_part",
            is_session_gone,
            doing="write",
            body=body,
            Key=self._key(session),
            UploadId=session.token,
            PartNumber=number + 1,
        )
        if answer is None:
            raise self._gone("has ended there")
        self._done[number] = UploadPart(body.size, str(answer["ETag"]))

    def _collect(self) -> None:
        for task in [task for task in self._running if task.done()]:
            self._running.pop(task).release()
            task.result()

    async def settle(self) -> None:
        """Return when all parts have arrived. Raises as ``send`` does."""
        if self._running:
            await asyncio.wait(self._running)
        self._collect()

    def settled(self) -> tuple[tuple[UploadPart, ...], Mapping[str, bytes] | None]:
        """The parts that have arrived, from the first to where one is missing, and the hashes there.

        None for the hashes when nothing of ours has arrived.
        """
        numbers = list(takewhile(self._done.__contains__, range(self.count)))
        return tuple(self._done[number] for number in numbers), self._hashes.get(len(numbers) - 1)

    async def complete(self) -> None:
        """Make an object of all parts, or see that it was made already. Raises SessionGone."""
        session = self.session
        assert session is not None  # there are parts
        parts = [{"ETag": self._done[number].etag, "PartNumber": number + 1} for number in sorted(self._done)]
        answer = await self._bucket.client.ask(
            "complete_multipart_upload",
            _is_gone_or_changed,
            doing="finish an upload",
            Key=self._key(session),
            UploadId=session.token,
            MultipartUpload={"Parts": parts},
        )
        if answer is None:
            await self.require_complete(self.size)

    async def require_complete(self, size: int) -> None:
        """Whether the object is there with so many bytes, so that only the answer was lost. Raises SessionGone."""
        if self.session is None or await self._bucket.size_of(self._key(self.session)) != size:
            raise self._gone("has ended there, or was written by another request; begin it anew")

    async def hash(self, algorithms: Sequence[str]) -> dict[str, str]:
        """Read the finished object."""
        assert self.session is not None  # it is complete
        return dict(await self._bucket.hash(self._key(self.session), algorithms))

    async def abort(self) -> None:
        """Forget the parts, and the object if it was made."""
        await self.stop()
        if self.session is not None:
            await abort(self._bucket, self._upload_id, self.session)
            await self._bucket.delete(self._key(self.session))

    async def stop(self) -> None:
        """Nothing is on its way any more."""
        for task in self._running:
            task.cancel()
        await wait_out(set(self._running))
        for task, body in self._running.items():
            body.release()
            if not task.cancelled():
                task.exception()  # whoever wanted to know has asked
        self._running = {}

    def _key(self, session: Session) -> str:
        return self._bucket.keys.session_data(self._upload_id, session)

    def _gone(self, what: str) -> SessionGone:
        return SessionGone(f"upload {self._upload_id} {what}", upload=self._upload_id)


async def abort(bucket: S3Bucket, upload_id: str, session: Session) -> None:
    """Forget the parts of a multipart upload, if it is still open."""
    key = bucket.keys.session_data(upload_id, session)
    await bucket.client.ask(
        "abort_multipart_upload", is_session_gone, doing="abort an upload", Key=key, UploadId=session.token
    )


def _is_gone_or_changed(error: BaseException) -> bool:
    return is_session_gone(error) or code_of(error) in {"InvalidPart", "InvalidPartOrder"}
