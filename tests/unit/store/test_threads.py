from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest

from entrepot.errors import StorageFull, Unavailable
from entrepot.store.threads import DiskThreads


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
    ],
    ids=errno.errorcode.get,
)
async def test_error_of_the_disk_comes_out_as_ours(number: int, error: type[Unavailable]) -> None:
    with pytest.raises(Unavailable) as caught:
        await DiskThreads(1).run(fail, number)
    assert type(caught.value) is error
    assert caught.value.detail["errno"] == number
    assert caught.value.retry_after_seconds > 0


async def test_other_errors_come_out_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        await DiskThreads(1).run(divmod, 1, 0)


async def test_result_for_a_cancelled_caller_is_undone() -> None:
    started, go_on = threading.Event(), threading.Event()
    undone: list[str] = []

    def work() -> str:
        started.set()
        go_on.wait()
        return "result"

    running = asyncio.create_task(DiskThreads(1).run(work, undo=undone.append))
    await asyncio.to_thread(started.wait)
    running.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert undone == ["result"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelled_caller_waits_for_the_thread(times: int) -> None:
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait()
        fail(errno.EIO)

    running = asyncio.create_task(DiskThreads(1).run(work))
    await asyncio.to_thread(started.wait)
    for _ in range(times):
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
