"""Settings: ``Settings`` is what there is to set, ``load()`` finds the values.

The only part of the package, with ``cli``, that reads the environment; the only one that reads the
configuration file.
"""

from entrepot.config.exposure import check_exposure
from entrepot.config.keys import FIELDS, SECTIONS, flag_of, variable_of
from entrepot.config.loading import Loaded, load, read
from entrepot.config.model import Settings
from entrepot.config.values import without_password

__all__ = [
    "FIELDS",
    "SECTIONS",
    "Loaded",
    "Settings",
    "check_exposure",
    "flag_of",
    "load",
    "read",
    "variable_of",
    "without_password",
]
