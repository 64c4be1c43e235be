"""Partial blobs of an OCI image layout: kept inside it until they are whole, then where the layout wants blobs::

<root>/.uploads/partials/<algorithm>/<hex>    and the files beside it that partial_files.py draws
<root>/blobs/<algorithm>/<hex>
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from entrepot.digest import HEX_LENGTHS, Digest
from entrepot.store.disk import Disk
from entrepot.store.folder import BlobFolder
from entrepot.store.partials import FilesystemPartials, Often
from entrepot.store.threads import DiskThreads


class LayoutBlobFolder(BlobFolder):
    """The folder of a layout as ``FilesystemPartials`` needs it."""

    def __init__(self, root: Path, uploads: Path, disk: Disk) -> None:
        super().__init__(root, disk)
        self.uploads = uploads
        self.partials = uploads / "partials"

    def place_file(self, source: Path, digest: Digest) -> str:  # noqa: ARG002
        """Blobs lie under the digest they were asked for by, of whatever algorithm; ``source`` is named after it."""
        location = f"{source.parent.name}/{source.name}"
        target = self.blobs / location
        self.make(target.parent)
        self.disk.rename(source, target)
        self.disk.sync_folder(target.parent)
        return location

    def tidy(self) -> None:
        """Remove what is empty; whoever needs it makes it again."""
        for folder in (*(self.partials / name for name in HEX_LENGTHS), self.partials, self.uploads):
            with suppress(OSError):
                os.rmdir(folder)


def open_layout_partials(
    root: Path, uploads: Path, threads: DiskThreads
) -> tuple[FilesystemPartials, LayoutBlobFolder]:
    """The partials of the layout at ``root``, kept below its folder ``uploads``."""
    folder = LayoutBlobFolder(root, uploads, Disk())
    return FilesystemPartials(folder, threads, Often()), folder
