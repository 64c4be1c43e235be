"""Platforms: what an image runs on, and which entry of an index is meant (image-spec, image-index.md, "platform")."""

from __future__ import annotations

import platform as machine
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from entrepot.errors import ParameterInvalid

_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
# What uname, Debian and Go call the same processors.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_DEFAULT_VARIANTS = {"arm64": "v8", "amd64": "v1", "arm": "v7"}
_SYSTEMS = {"macos": "darwin"}


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and variant, in Go's words: ``linux/arm64``, ``linux/arm/v7``.

    The variant that goes without saying (``v8`` of arm64) is left empty, so that equal platforms compare equal.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``OS/ARCH[/VARIANT]``, or ``ARCH`` alone for Linux. Raises ParameterInvalid."""
        parts = text.split("/")
        if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
            raise ParameterInvalid(
                f"invalid platform: expected OS/ARCH[/VARIANT], e.g. linux/arm64, got {text[:80]!r}", platform=text[:80]
            )
        if len(parts) == 1:
            parts = ["linux", *parts]
        return cls.normal(*parts)

    @classmethod
    def normal(cls, os: str, architecture: str, variant: str = "", os_version: str = "") -> Self:
        """With the usual names for system and processor, and without a variant that goes without saying."""
        os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if variant == _DEFAULT_VARIANTS.get(architecture) and architecture != "arm":
            variant = ""
        if architecture == "arm" and not variant:
            variant = _DEFAULT_VARIANTS["arm"]
        return cls(_SYSTEMS.get(os, os), architecture, variant, os_version)

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> Self | None:
        """The ``platform`` of an index entry, or those fields of an image's config; None when it names none."""
        if not document:
            return None
        os, architecture = document.get("os"), document.get("architecture")
        if not isinstance(os, str) or not isinstance(architecture, str) or not architecture:
            return None
        variant, version = document.get("variant"), document.get("os.version")
        return cls.normal(os, architecture, _text(variant), _text(version))

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host_platform() -> Platform:
    """What images run on here. Containers are Linux, on a Mac and under Windows too."""
    system = "windows" if sys.platform == "win32" else "linux"
    return Platform.normal("linux" if system == "windows" else system, machine.machine())


def choose(candidates: Sequence[Platform | None], wanted: Platform) -> int | None:
    """The place of the best candidate for ``wanted``: equal, or one whose code this processor also runs.

    An arm/v7 also runs v6 and v5, an arm64 also arm, an amd64 of a later level also the earlier ones. Of equals the
    first counts. None when none fits.
    """
    ranked = [
        (rank, place)
        for place, candidate in enumerate(candidates)
        if candidate is not None and (rank := _rank(candidate, wanted)) is not None
    ]
    return min(ranked)[1] if ranked else None


def _rank(candidate: Platform, wanted: Platform) -> int | None:
    """0 for the very platform, more for less fitting, None for none at all."""
    if candidate.os != wanted.os:
        return None
    if wanted.os_version and candidate.os_version and candidate.os_version != wanted.os_version:
        return None
    runs = _runs(wanted)
    try:
        return runs.index((candidate.architecture, candidate.variant))
    except ValueError:
        return None


def _runs(wanted: Platform) -> list[tuple[str, str]]:
    architecture, variant = wanted.architecture, wanted.variant
    if architecture not in ("arm", "arm64", "amd64") or not re.fullmatch(r"(v\d)?", variant):
        return [(architecture, variant)]
    level = int((variant or _DEFAULT_VARIANTS[architecture])[1:])
    if architecture == "amd64":
        return [("amd64", f"v{n}" if n > 1 else "") for n in range(level, 0, -1)]
    arm = [("arm", f"v{n}") for n in range(min(level, 7), 4, -1)]
    if architecture == "arm":
        return arm
    return [("arm64", variant), *([("arm64", "")] if variant else [])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
