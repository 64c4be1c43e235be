"""Random requests, half right: near enough to the API that they get past its first check."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from entrepot.digest import Digest
from entrepot.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST

from .raw import Reply

METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "PROPFIND", "Q" * 300]
WEIGHTS = [8, 4, 8, 8, 6, 4, 1, 1, 1, 1, 1, 1]
TYPES = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, OCI_EMPTY, "text/plain", "", "a/b;c=d", "\xff", "*/*"]
SNIPPETS = [
    "%00", "%0A", "%0d%0a", "%2F", "%2e%2e", "..", "/", "//", "%", "%zz", "%ff", "%c3%28", "%F0%9F%90%8B", ":", "@",
    "+", "~", "A", "-", "_", ".", "sha256:", "a" * 200, "%25", "'", '"', "<", "{", "|", "manifests", "blobs", "uploads",
]  # fmt: skip
NUMBERS = [
    "0",
    "1",
    "-1",
    "+1",
    "9" * 19,
    "9" * 400,
    "1_0",
    "0x1",
    "",
    " ",
    "1.5",
    "NaN",
    "\xb2",
    "18446744073709551616",
]
JSON_PARTS: list[Any] = [
    None, True, 0, -1, 2, 2.0, 1e300, "", "x", "sha256:", "application/json", [], {}, [[]], {"a": {}}, 2**70, "\ud800",
]  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request; its body comes in ``pieces``, and breaks off after them when the sender ``hangs_up``."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    hangs_up: bool = False


@dataclass
class Fuzzer:
    """The same calls for the same seed and answers; what is learnt from answers makes later calls better."""

    seed: int
    names: list[str] = field(default_factory=lambda: ["fuzz/a", "fuzz/b", "fuzz"])
    tags: list[str] = field(default_factory=lambda: ["v1", "latest"])
    contents: list[bytes] = field(default_factory=lambda: [b"", b"{}", b"content"])
    uploads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next_call(self) -> Call:
        return self._sensible_call() if self._sometimes(0.5) else self._wild_call()

    def _sensible_call(self) -> Call:
        """One that works now and then, if nothing in it is spoilt."""
        content = self._manifest() if self._sometimes(0.4) else self._pick(self.contents)
        name, digest, tag = (
            self._name(),
            self._spoil(Digest.of(content), 0.05),
            self._spoil(self._pick(self.tags), 0.05),
        )
        upload = self._pick(self.uploads) if self.uploads else f"/v2/{name}/blobs/uploads/"
        part = (("content-range", f"{self._pick([0, 0, 5, 7])}-{len(content) - 1}"),) if self._sometimes(0.5) else ()
        ranges = (("range", self._pick(["bytes=0-0", "bytes=-1", "bytes=9999-", "bytes=0-1,3-"])),)
        method, target, fields, body = self._pick(
            [
                ("POST", f"/v2/{name}/blobs/uploads/", (), b""),
                ("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", (), content),
                ("POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={self._name()}", (), b""),
                ("PATCH", upload, part, content),
                ("PUT", f"{upload}?digest={digest}", part, content),
                ("PUT", f"/v2/{name}/manifests/{tag}", (), content),
                ("PUT", f"/v2/{name}/manifests/{digest}?tag={tag}", (), content),
                ("GET", f"/v2/{name}/blobs/{digest}", ranges, b""),
                ("GET", f"/v2/{name}/manifests/{tag}", (), b""),
                ("GET", f"/v2/{name}/referrers/{digest}", (), b""),
                ("DELETE", f"/v2/{name}/{self._pick(['blobs', 'manifests'])}/{digest}", (), b""),
            ]
        )
        return Call(method, target, fields, self._cut(body), hangs_up=self._sometimes(0.05) and bool(body))

    def _wild_call(self) -> Call:
        method = self._random.choices(METHODS, WEIGHTS)[0]
        body = self._body() if method in ("PUT", "POST", "PATCH") or self._sometimes(0.05) else b""
        target = self._target(body)
        hangs_up = self._sometimes(0.05) and bool(body)
        return Call(method, target, tuple(self._fields(body)), self._cut(body), hangs_up=hangs_up)

    def learn(self, call: Call, reply: Reply) -> None:
        location = reply.headers.get("location", "")
        if reply.status == 202 and "/uploads/" in location:
            self.uploads = [*self.uploads[-20:], location]
        if reply.status == 201 and call.pieces:
            self.contents = [*self.contents[-50:], b"".join(call.pieces)]

    def _sometimes(self, chance: float) -> bool:
        return self._random.random() < chance

    def _pick(self, values: list[Any]) -> Any:
        return self._random.choice(values)

    def _target(self, body: bytes) -> str:
        path: str = self._pick(
            [
                lambda: f"/v2/{self._name()}/manifests/{self._reference(body)}",
                lambda: f"/v2/{self._name()}/blobs/{self._digest(body)}",
                lambda: f"/v2/{self._name()}/blobs/uploads/",
                lambda: self._pick(self.uploads) if self.uploads else "/v2/fuzz/a/blobs/uploads/some-id",
                lambda: f"/v2/{self._name()}/tags/list",
                lambda: f"/v2/{self._name()}/referrers/{self._digest(body)}",
                lambda: self._pick(["/v2/", "/v2", "/", "*", "/v2/_catalog", "/v1/search", "/v1/_ping", "/healthz"]),
            ]
        )()
        return self._spoil(path, 0.1) + (f"?{self._query(body)}" if self._sometimes(0.6) else "")

    def _query(self, body: bytes) -> str:
        makers: dict[str, Callable[[], str]] = {
            "digest": lambda: self._digest(body),
            "mount": lambda: self._digest(body),
            "from": self._name,
            "digest-algorithm": lambda: self._pick(["sha256", "sha512", "md5", ""]),
            "tag": lambda: self._spoil(self._pick(self.tags), 0.2),
            "n": lambda: self._pick(NUMBERS),
            "last": lambda: self._spoil(self._pick(self.tags), 0.3),
            "artifactType": lambda: self._pick(TYPES),
            "q": self._name,
            "%": lambda: "&&=",
        }
        chosen = self._random.choices(list(makers), k=self._random.randint(1, 3))
        return "&".join(f"{key}={makers[key]()}" for key in chosen).replace(" ", "%20")

    def _name(self) -> str:
        return self._spoil(self._pick(self.names), 0.05)

    def _reference(self, body: bytes) -> str:
        return self._digest(body) if self._sometimes(0.4) else self._spoil(self._pick(self.tags), 0.15)

    def _digest(self, body: bytes) -> str:
        content = body if self._sometimes(0.6) else self._pick(self.contents)
        return self._spoil(Digest.of(content, self._pick(["sha256", "sha256", "sha512"])), 0.1)

    def _spoil(self, text: str, chance: float) -> str:
        while self._sometimes(chance):
            place = self._random.randint(0, len(text))
            cut = self._random.randint(0, 3)
            text = text[:place] + self._pick(SNIPPETS) + text[place + cut :]
        return text

    def _fields(self, body: bytes) -> list[tuple[str, str]]:
        start, size = self._random.randint(0, 20), len(body)
        fields = {
            "content-type": self._pick(TYPES),
            "content-range": self._pick([f"0-{size - 1}", f"{start}-{start + size - 1}", "5-1", "x", "0-0", *NUMBERS]),
            "range": self._pick(["bytes=0-", "bytes=-5", "bytes=5-1", "bytes=0-1,3-4", "bytes", "x=1", "bytes=-"]),
            "if-match": self._pick(["*", '"x"', f'"{Digest.of(body)}"', ",,"]),
            "if-none-match": self._pick(["*", '"x"', f'"{Digest.of(body)}"', "W/"]),
            "if-range": f'"{Digest.of(body)}"',
            "accept": self._pick(TYPES),
            "expect": "100-continue",
            "x-forwarded-host": "evil.test",
        }
        chosen = [(name, value) for name, value in fields.items() if self._sometimes(0.2)]
        return [*chosen, ("content-length", str(size))] if self._sometimes(0.7) else chosen

    def _body(self) -> bytes:
        body: bytes = self._pick(
            [
                lambda: self._pick(self.contents),
                lambda: self._random.randbytes(self._random.choice([0, 1, 100, 5000])),
                self._manifest,
                self._manifest,
                lambda: self._damage(self._manifest()),
            ]
        )()
        return body

    def _manifest(self) -> bytes:
        media_type = self._pick([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST])
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
        if media_type in (OCI_MANIFEST, DOCKER_MANIFEST):
            document |= {"config": self._descriptor(), "layers": [self._descriptor() for _ in range(2)]}
        else:
            document["manifests"] = [self._descriptor() for _ in range(self._random.randint(0, 2))]
        if self._sometimes(0.3):
            document["subject"] = self._descriptor()
        while self._sometimes(0.3):
            owner = self._pick([document, *(part for part in document.values() if isinstance(part, dict))])
            owner[self._pick([*owner, "annotations", "artifactType", "data", "x"])] = copy.deepcopy(
                self._pick(JSON_PARTS)
            )
        return json.dumps(document).encode()

    def _descriptor(self) -> dict[str, Any]:
        content = self._pick(self.contents)
        return {"mediaType": OCI_MANIFEST, "digest": Digest.of(content), "size": len(content)}

    def _damage(self, data: bytes) -> bytes:
        place = self._random.randint(0, len(data))
        return data[:place] + self._random.randbytes(self._random.randint(0, 3)) + data[place + 1 :]

    def _cut(self, body: bytes) -> tuple[bytes, ...]:
        if not body:
            return ()
        place = self._random.randint(0, len(body))
        return (body,) if self._sometimes(0.6) else (body[:place], body[place:])
