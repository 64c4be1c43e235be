"""One S3 server as the store talks to it: requests that are tried again, and in the end an answer or our errors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import BotoCoreError

from entrepot.errors import ConfigInvalid
from entrepot.store.s3_body import Outgoing, PartBody
from entrepot.store.s3_errors import S3Error, is_worth_a_retry, translate
from entrepot.store.s3_model import loader
from entrepot.store.s3_options import S3Options
from entrepot.store.threads import wait_out
from entrepot.version import __version__

Answer = Mapping[str, Any]
Refusal = Callable[[BaseException], bool]

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_SIGNER = "entrepot-s3v4"
_ONLY_FOR_CLIENTS = "s3.redirect_endpoint"


class _SummedAuth(S3SigV4Auth):
    """Signature v4, with the checksum of a body that was summed while it was gathered."""

    def payload(self, request: Any) -> str:
        body = request.data
        if isinstance(body, Outgoing) and body.sha256 is not None:
            return body.sha256
        text: str = super().payload(request)
        return text


AUTH_TYPE_MAPS[_SIGNER] = _SummedAuth


class S3Client:
    """Opens its connections in the event loop it is first used in; ``close`` ends them."""

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._presigning: Any = None
        self._endpoint = options.endpoint or "of Amazon"

    @property
    def endpoint(self) -> str:
        """For messages."""
        return self._endpoint

    @property
    def region(self) -> str:
        """The one in use, once there was a request."""
        return str(self._client.meta.region_name) if self._client is not None else self.options.region

    async def is_signed(self) -> bool:
        """Whether bodies are signed; over TLS they need not be."""
        await self._open()
        return self._endpoint.startswith("http:")

    async def call(self, operation: str, *, doing: str, body: PartBody | None = None, **parameters: Any) -> Answer:
        """Do it, trying again for ``wait_seconds`` while the server is busy or away. Raises Unavailable, StorageFull.

        ``doing`` is for the message: cannot ``doing`` at the S3 server.
        """
        answer = await self.ask(operation, _never, doing=doing, body=body, **parameters)
        assert answer is not None  # _never
        return answer

    async def ask(
        self, operation: str, refusal: Refusal, *, doing: str, body: PartBody | None = None, **parameters: Any
    ) -> Answer | None:
        """The same; None when the server answers with what ``refusal`` holds for."""
        pause = _FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        # bytes may take as long as they move; of all else the client waits for the answer, docker 30 s for a last one
        deadline = loop.time() + self.options.wait_seconds if body is None else None
        while True:
            try:
                return await self.attempt(operation, body=body, **parameters)
            except S3Error as error:
                if refusal(error):
                    return None
                if deadline is None:
                    deadline = loop.time() + self.options.wait_seconds
                if not is_worth_a_retry(error) or loop.time() >= deadline:
                    raise translate(error, doing=doing, endpoint=self._endpoint) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (so that not all come back at once)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def attempt(self, operation: str, *, body: PartBody | None = None, **parameters: Any) -> Answer:
        """Do it once; raises what botocore raises."""
        request = getattr(await self._open(), operation)
        if body is None:
            answer: Answer = await request(Bucket=self.options.bucket, **parameters)
            return answer
        if body.is_small:
            parameters["Body"] = body.as_bytes()
            return dict(await request(Bucket=self.options.bucket, **parameters))
        outgoing = body.outgoing()
        parameters |= {"Body": outgoing, "ContentLength": body.size}
        return await self._watch(request(Bucket=self.options.bucket, **parameters), outgoing)

    async def _watch(self, request: Coroutine[Any, Any, Answer], outgoing: Outgoing) -> Answer:
        """The time limits below are for answers; a server that takes no more bytes is noticed here."""
        running = asyncio.create_task(request)
        try:
            while not running.done():
                taken = outgoing.taken
                await asyncio.wait({running}, timeout=self.options.read_timeout_seconds)
                if not running.done() and outgoing.taken == taken:
                    raise TimeoutError(f"nothing moved for {self.options.read_timeout_seconds:g} seconds")
            return running.result()
        finally:
            running.cancel()
            await wait_out({running})

    async def pages(self, operation: str, *, doing: str, **parameters: Any) -> AsyncIterator[Answer]:
        """The pages of a listing of objects, each tried again by itself."""
        token: dict[str, Any] = {}
        while True:
            page = await self.call(operation, doing=doing, **parameters, **token)
            yield page
            if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def presign(self, key: str, *, content_type: str, seconds: int) -> str:
        """An address that anybody can GET an object from for a while."""
        await self._open()
        if self._presigning is None:
            endpoint = self.options.redirect_endpoint
            self._presigning = await self._connect(endpoint) if endpoint else self._client
        parameters = {"Bucket": self.options.bucket, "Key": key, "ResponseContentType": content_type}
        try:
            url: str = await self._presigning.generate_presigned_url(
                "get_object", Params=parameters, ExpiresIn=seconds, HttpMethod="GET"
            )
        except BotoCoreError as error:
            raise translate(error, doing="sign an address", endpoint=self._endpoint) from error
        return url

    async def close(self) -> None:
        self._client = self._presigning = None
        await self._stack.aclose()

    async def _open(self) -> Any:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await self._connect(self.options.endpoint)
                    self._endpoint = str(self._client.meta.endpoint_url)
        return self._client

    async def _connect(self, endpoint: str) -> Any:
        session = AioSession()
        session.register_component("data_loader", loader())
        endpoint = endpoint or _configured_endpoint(session)
        options, credentials = self.options, self.options.credentials
        try:
            client = await self._stack.enter_async_context(
                session.create_client(
                    "s3",
                    region_name=options.region or session.get_config_variable("region") or "us-east-1",
                    endpoint_url=endpoint or None,
                    # for plain HTTP there is nothing to verify, and no authorities to load
                    verify=False if endpoint.startswith("http:") else options.ca_bundle or None,
                    aws_access_key_id=credentials.access_key if credentials else None,
                    aws_secret_access_key=credentials.secret_key if credentials else None,
                    aws_session_token=(credentials.session_token or None) if credentials else None,
                    config=_config(options, endpoint),
                )
            )
        except (BotoCoreError, ValueError, OSError) as error:
            raise ConfigInvalid(f"cannot use the S3 settings: {error}", endpoint=endpoint) from error
        if endpoint.startswith("http:"):
            for operation in ("PutObject", "UploadPart"):
                client.meta.events.register_first(f"choose-signer.s3.{operation}", _choose_signer)
        return client


def _config(options: S3Options, endpoint: str) -> AioConfig:
    addressing = options.addressing
    if addressing == "auto" and endpoint and ".amazonaws.com" not in endpoint:
        addressing = "path"
    s3: dict[str, Any] = {"addressing_style": addressing}
    if not endpoint.startswith("http:"):
        s3["payload_signing_enabled"] = False  # TLS protects the bytes, and saves their checksum
    return AioConfig(
        signature_version="s3v4",
        s3=s3,
        max_pool_connections=options.connections,
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        retries={"total_max_attempts": 1},  # we do it ourselves, by time
        request_checksum_calculation="when_required",  # many other servers know nothing of the new checksums
        response_checksum_validation="when_required",
        user_agent=f"entrepot/{__version__}",  # to put together botocore's own takes long, each time
    )


def _configured_endpoint(session: AioSession) -> str:
    provider = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="s3"
    )
    return provider.provide() or ""


def _choose_signer(**_: Any) -> str:
    return _SIGNER


def _never(_: BaseException) -> bool:
    return False
