"""Which locks the operations take, on databases that have several writers at a time.

Who adds to a repository keeps those out who remove from it, until the end of his transaction: what a manifest names
is still there when it is stored, and a repository that is just found empty gets nothing new. Locks are taken at the
beginning, a repository's first, then that of its tags or uploads.

The operations of the image store (``images.py``) that remove take none: it is kept in SQLite.
"""

from __future__ import annotations

from entrepot.metadata.base import Lock
from entrepot.reference import RepositoryName


def adding_to(name: RepositoryName) -> Lock:
    """Many may add to a repository at once."""
    return Lock(f"repository {name}", exclusive=False)


def removing_from(name: RepositoryName) -> Lock:
    """One removes, while nobody adds."""
    return Lock(f"repository {name}", exclusive=True)


def writing_tags(name: RepositoryName, *, alone: bool) -> Lock:
    """``alone`` for who decides by where a tag points; all others only keep such a one out."""
    return Lock(f"tags {name}", exclusive=alone)


def counting_uploads(name: RepositoryName) -> Lock:
    """For who may begin another upload, as long as there are few."""
    return Lock(f"uploads {name}", exclusive=True)
