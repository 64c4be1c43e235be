"""What the settings name: where names are kept, and where bytes are.

Each kind has a module of its own, imported only when it is named: the embedded default needs neither PostgreSQL's
driver nor Amazon's library.
"""

from entrepot.backends.embedded import Durability
from entrepot.backends.names import database_name, store_name
from entrepot.backends.opening import Backends, is_shared, open_backends, prepare, with_cache

__all__ = [
    "Backends",
    "Durability",
    "database_name",
    "is_shared",
    "open_backends",
    "prepare",
    "store_name",
    "with_cache",
]
