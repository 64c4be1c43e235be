"""The S3 store and its server: the bucket, rights, redirects, and bad times."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from entrepot.digest import Digest
from entrepot.errors import Corrupt, Unavailable
from entrepot.store.s3_options import MIB, S3Credentials
from entrepot.testing.upload_suite import missing, pull, push
from tests.process.certificates import Certificates, make_certificates
from tests.services.ceph import CephServer
from tests.services.relay import PIECE
from tests.services.s3 import S3Place, client
from tests.services.tcp_proxy import TcpProxy

from .s3_stores import PART, TAIL, OpenStore, begin, opening, stream


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    async with opening() as open_store:
        yield open_store


# the bucket and the rights


async def test_prepare_creates_the_bucket(s3_without_bucket: S3Place, open_store: OpenStore) -> None:
    store = open_store(s3_without_bucket)
    with pytest.raises(Unavailable) as caught:
        await store.check()
    assert caught.value.detail["status"] == 404
    await store.prepare()
    await store.prepare()
    await store.check()
    assert s3_without_bucket.keys() == {}
    assert s3_without_bucket.open_uploads() == []


@pytest.mark.parametrize(
    ("access_key", "secret_key", "text"),
    [("", "wrong", "AWS_SECRET_ACCESS_KEY"), ("unknown", "", "AWS_ACCESS_KEY_ID")],
    ids=["secret", "access_key"],
)
async def test_prepare_with_wrong_key_says_which(
    ceph: S3Place, open_store: OpenStore, access_key: str, secret_key: str, text: str
) -> None:
    credentials = S3Credentials(access_key or ceph.access_key, secret_key or ceph.secret_key)
    with pytest.raises(Unavailable, match=text) as caught:
        await open_store(ceph, credentials=credentials, wait_seconds=0).prepare()
    assert ceph.secret_key not in caught.value.message


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [("http://127.0.0.1:1", "127.0.0.1:1"), ("http://no-such-host.invalid", "no-such-host.invalid")],
    ids=["nobody_listens", "unknown_host"],
)
async def test_prepare_without_server_says_so(ceph: S3Place, open_store: OpenStore, endpoint: str, text: str) -> None:
    with pytest.raises(Unavailable, match=text):
        await open_store(ceph.behind(endpoint), wait_seconds=0).prepare()


@pytest.fixture
def reader(ceph: S3Place, ceph_server: CephServer) -> S3Credentials:
    """A user who may read the bucket of ``ceph``, and nothing else."""
    name, access_key, secret_key = f"reader-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex[:20], uuid.uuid4().hex
    keys = (f"--access-key={access_key}", f"--secret-key={secret_key}")
    ceph_server.admin("user", "create", f"--uid={name}", "--display-name=reader", *keys, "--max-buckets=-1")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{name}"]},
        "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{ceph.bucket}", f"arn:aws:s3:::{ceph.bucket}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client(ceph).put_bucket_policy(Bucket=ceph.bucket, Policy=policy)
    return S3Credentials(access_key, secret_key)


async def test_prepare_without_rights_names_all_that_are_missing(
    ceph: S3Place, reader: S3Credentials, open_store: OpenStore
) -> None:
    with pytest.raises(Unavailable) as caught:
        await open_store(ceph, credentials=reader).prepare()
    lacking = set(caught.value.detail["missing"])
    assert {"s3:PutObject", "s3:DeleteObject"} <= lacking
    assert not lacking & {"s3:ListBucket", "s3:GetObject"}
    assert '"s3:AbortMultipartUpload"' in caught.value.message
    assert f"arn:aws:s3:::{ceph.bucket}/{ceph.prefix}/*" in caught.value.message


async def test_prepare_of_a_bucket_that_may_not_be_made_says_what_to_create(
    ceph: S3Place, reader: S3Credentials, open_store: OpenStore
) -> None:
    place = S3Place(ceph.endpoint, reader.access_key, reader.secret_key, "not-there", "p")
    with pytest.raises(Unavailable, match=r"the bucket not-there .* Create it"):
        await open_store(place).prepare()


# redirects


@pytest.mark.parametrize(
    ("changes", "is_redirected"),
    [
        ({"redirect": "never"}, False),
        ({"redirect": "always"}, True),
        ({"redirect": "large", "redirect_above_bytes": len(TAIL)}, False),
        ({"redirect": "large", "redirect_above_bytes": len(TAIL) - 1}, True),
    ],
    ids=["never", "always", "small", "large"],
)
async def test_redirect_url_is_given_for_blobs_as_set(
    ceph: S3Place, open_store: OpenStore, changes: dict[str, object], is_redirected: bool
) -> None:
    store = open_store(ceph, **changes)
    assert (await store.redirect_url(await push(store, TAIL)) is not None) is is_redirected


@pytest.mark.parametrize("content", [TAIL, PART + TAIL], ids=["object", "parts"])
async def test_redirect_url_gives_the_bytes_to_anybody(s3: S3Place, open_store: OpenStore, content: bytes) -> None:
    store = open_store(s3, redirect="always")
    upload, _ = await begin(store, content)
    url = await store.redirect_url(await upload.commit(Digest.of(content)))
    assert url is not None
    assert await asyncio.to_thread(get, url) == (200, "application/octet-stream", content)
    assert await asyncio.to_thread(get, url, "bytes=2-5") == (206, "application/octet-stream", content[2:6])


async def test_redirect_url_that_was_tampered_with_is_refused(s3: S3Place, open_store: OpenStore) -> None:
    store = open_store(s3, redirect="always")
    url, other = [await store.redirect_url(await push(store, content)) for content in (b"mine", b"yours")]
    assert url is not None
    assert other is not None
    forged = urlsplit(other)._replace(query=urlsplit(url).query).geturl()
    status, _, _ = await asyncio.to_thread(get, forged)
    assert status == 403


async def test_redirect_url_is_refused_when_its_time_is_over(s3: S3Place, open_store: OpenStore) -> None:
    store = open_store(s3, redirect="always", redirect_seconds=1)
    url = await store.redirect_url(await push(store, b"brief"))
    assert url is not None
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(get, url))[0] != 403:
            pass


async def test_redirect_url_is_made_once_for_each_blob(ceph: S3Place, open_store: OpenStore) -> None:
    store = open_store(ceph, redirect="always", redirect_seconds=1000)
    first, second = await push(store, b"one"), await push(store, b"two")
    assert await store.redirect_url(first) is await store.redirect_url(first)
    assert await store.redirect_url(first) != await store.redirect_url(second)


async def test_redirect_url_names_the_endpoint_for_clients(ceph: S3Place, open_store: OpenStore) -> None:
    store = open_store(ceph, redirect="always", redirect_endpoint="https://s3.example.com")
    url = await store.redirect_url(await push(store, TAIL))
    assert url is not None
    assert url.startswith(f"https://s3.example.com/{ceph.bucket}/{ceph.prefix}/blobs/sha256/")


def get(url: str, byte_range: str = "") -> tuple[int, str, bytes]:
    """As a client without any key: status, type, body."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        headers = {"Range": byte_range} if byte_range else {}
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    finally:
        connection.close()


# TLS


class TlsProxy(TcpProxy):
    """What stands in front of an S3 server that speaks no TLS itself."""

    def __init__(self, upstream_port: int, certificates: Certificates) -> None:
        super().__init__(upstream_port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.chain, certificates.key)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=PIECE, ssl=self._context)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


async def test_push_over_tls_trusts_the_authority_that_is_set(
    ceph: S3Place, open_store: OpenStore, certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.pem"
    certificates.authority.cert_pem.write_to_path(authority)
    with TlsProxy(int(ceph.endpoint.rpartition(":")[2]), certificates) as proxy:
        store = open_store(ceph.behind(f"https://localhost:{proxy.port}"), ca_bundle=str(authority))
        await store.prepare()
        upload, _ = await begin(store, PART, TAIL)
        blob = await upload.commit(Digest.of(PART + TAIL))
        assert await pull(store, blob) == PART + TAIL
        await store.close()


async def test_server_whose_certificate_is_not_trusted_is_refused_at_once(
    ceph: S3Place, open_store: OpenStore, certificates: Certificates
) -> None:
    with TlsProxy(int(ceph.endpoint.rpartition(":")[2]), certificates) as proxy:
        store = open_store(ceph.behind(f"https://localhost:{proxy.port}"), wait_seconds=600)
        with pytest.raises(Unavailable, match=r"TLS failed: .*`s3\.ca_bundle`"):
            await store.prepare()
        await store.close()


# bad times


@pytest.fixture
def place(private_ceph: CephServer) -> S3Place:
    server = private_ceph
    place = S3Place(server.endpoint, server.access_key, server.secret_key, "bad-times", uuid.uuid4().hex)
    client(place).create_bucket(Bucket=place.bucket)
    return place


async def test_push_goes_on_when_the_gateway_is_restarted(
    private_ceph: CephServer, place: S3Place, open_store: OpenStore
) -> None:
    store = open_store(place)
    upload, _ = await begin(store, PART)
    private_ceph.gateway.kill()
    writing = asyncio.create_task(upload.write(stream(PART, PART, PART, TAIL)))
    await asyncio.to_thread(private_ceph.start_gateway)
    await writing
    blob = await upload.commit(Digest.of(4 * PART + TAIL))
    assert await pull(store, blob) == 4 * PART + TAIL


async def test_read_goes_on_when_the_gateway_was_frozen(
    private_ceph: CephServer, place: S3Place, open_store: OpenStore
) -> None:
    store = open_store(place, read_timeout_seconds=2)
    blob = await push(store, TAIL)
    private_ceph.gateway.freeze()
    reading = asyncio.create_task(pull(store, blob))
    done, _ = await asyncio.wait({reading}, timeout=4.5)
    assert not done
    private_ceph.gateway.resume()
    assert await reading == TAIL


@pytest.mark.parametrize("what", ["read", "write", "check"])
async def test_server_that_stays_away_is_unavailable_after_the_time_to_wait(
    private_ceph: CephServer, place: S3Place, open_store: OpenStore, what: str
) -> None:
    blob = await push(open_store(place), TAIL)
    store = open_store(place, wait_seconds=0.2)
    private_ceph.gateway.kill()
    attempts = {"read": lambda: pull(store, blob), "write": lambda: push(store, TAIL), "check": store.check}
    with pytest.raises(Unavailable) as caught:
        await attempts[what]()
    assert caught.value.retry_after_seconds > 0
    assert place.endpoint in caught.value.message
    assert place.secret_key not in caught.value.message


async def test_blob_that_is_absent_is_corrupt_and_not_waited_for(ceph: S3Place, open_store: OpenStore) -> None:
    store = open_store(ceph, wait_seconds=600)
    async with asyncio.timeout(60):
        with pytest.raises(Corrupt):
            await pull(store, missing(bytes(MIB)))
