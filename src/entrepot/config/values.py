"""Kinds of values that settings have: sizes, addresses, URLs, paths. Only ``config`` uses them.

Each parser raises ValueError with a message that says what was expected; ``load()`` adds the key, its
origin and what came.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from entrepot.byte_size import parse_byte_size

_LISTEN = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+)):([0-9]{1,5})", re.ASCII | re.IGNORECASE)

_POSTGRESQL = re.compile(r"postgres(ql)?://([^/?#\s@]*@)?[^/?#\s@]*/[^/?#\s]+(\?[^#\s]*)?")
_POSTGRESQL_FORM = (
    "postgresql://USER:PASSWORD@HOST:PORT/NAME, with %40 for @, %2F for /, %3F for ?, %23 for # and %25 for % in it"
)
_S3 = re.compile(r"s3://([a-z0-9][a-z0-9._-]{1,253}[a-z0-9])(/[^?#\s]*)?")
_LOGIN = re.compile(r"(\bpostgres[a-z0-9+]*:)(?://)?.*@|(://)[^@/]*@", re.DOTALL | re.IGNORECASE)
_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&'\"]*")


@dataclass(frozen=True)
class Flag:
    """Marks a setting that a flag of ``entrepot serve`` sets, e.g. ``--listen``."""

    name: str


def _refuse_booleans(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


def _parse_size(value: Any) -> Any:
    if not isinstance(value, str):
        return _refuse_booleans(value)
    return parse_byte_size(value)


def _split_list(value: Any) -> Any:
    """The environment has only text: there a list is written with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def split_address(text: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port of ``HOST:PORT``. Raises ValueError."""
    match = _LISTEN.fullmatch(text)
    if not match or not 1 <= int(match[3]) <= 65535:
        raise ValueError("expected HOST:PORT with a port from 1 to 65535, e.g. 127.0.0.1:5000 or [::1]:5000")
    return _checked_ipv6(match[1]) if match[1] else match[2], int(match[3])


def _checked_ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("expected an IPv6 address between the brackets, e.g. [::1]:5000") from None


def _check_address(text: str) -> str:
    split_address(text)
    return text


def is_loopback(host: str) -> bool:
    """Whether ``host`` reaches this computer only: localhost, 127.0.0.0/8, ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> str:
    """The URL as it may be shown, also when it is malformed."""
    return _PASSWORD.sub(r"\1***", _LOGIN.sub(_hidden, url))


def _hidden(login: re.Match[str]) -> str:
    return f"{login[1]}//***@" if login[1] else f"{login[2]}***@"


def sqlite_path(url: str, *, root: Path) -> Path:
    """The file of a ``sqlite:///`` URL: below ``root``, with a fourth slash absolute. Raises ValueError."""
    path = _path_of(
        url,
        "sqlite",
        expected="sqlite:///FILE, sqlite:////FOLDER/FILE outside the root folder, or postgresql://USER@HOST/NAME",
    )
    if path == ":memory:":
        raise ValueError("expected a file, because all workers share the database")
    return root / path


def folder_path(url: str) -> Path:
    """The folder of a ``file:///`` URL. Raises ValueError."""
    return Path("/" + unquote(_path_of(url, "file", expected="file:///FOLDER or s3://BUCKET/PREFIX")))


def is_postgresql(url: str) -> bool:
    """Whether the URL is one of a PostgreSQL database, well-formed or not."""
    return url.partition(":")[0].lower() in ("postgresql", "postgres")


def bucket_and_prefix(url: str) -> tuple[str, str] | None:
    """Of an ``s3://`` URL, the prefix without slashes around it; None for other URLs. Raises ValueError."""
    if url.partition(":")[0].lower() != "s3":
        return None
    match = _S3.fullmatch(url)
    if not match:
        raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX")
    return match[1], (match[2] or "").strip("/")


def _path_of(url: str, scheme: str, *, expected: str) -> str:
    path = url.removeprefix(f"{scheme}:///")
    if path in ("", url) or any(character in path for character in "?#\0"):
        raise ValueError(f"expected {expected}")
    return path


def _check_database(url: str) -> str:
    if is_postgresql(url):
        if not _POSTGRESQL.fullmatch(url):
            raise ValueError(f"expected {_POSTGRESQL_FORM}")
    elif url:
        sqlite_path(url, root=Path())
    return url


def _check_store(url: str) -> str:
    if url and bucket_and_prefix(url) is None:
        folder_path(url)
    return url


def _check_web_address(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^/?#\s@]+/?", url):
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    return url.rstrip("/")


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _existing_file(value: Any) -> Any:
    if value is None or value == "":
        return None
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise ValueError("expected a file that exists")
    return path


Whole = Annotated[int, BeforeValidator(_refuse_booleans)]
Bytes = Annotated[
    int,
    BeforeValidator(_parse_size),
    WithJsonSchema({"type": ["integer", "string"], "pattern": "^[0-9]+ *([KMGTkmgt][Ii]?)?[Bb]?$"}),
]
Seconds = Annotated[float, BeforeValidator(_refuse_booleans), Field(allow_inf_nan=False)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_split_list)]
Address = Annotated[str, AfterValidator(_check_address)]
DatabaseUrl = Annotated[str, AfterValidator(_check_database)]
StoreUrl = Annotated[str, AfterValidator(_check_store)]
WebAddress = Annotated[str, AfterValidator(_check_web_address)]
Folder = Annotated[Path, AfterValidator(_absolute)]
OptionalFile = Annotated[Path | None, BeforeValidator(_existing_file)]
