"""Where libpq finds the public certificate authorities (``sslrootcert=system``).

psycopg's wheels bring an OpenSSL of their own, whose folder of authorities is on no machine, so every server that a
public authority vouches for would be refused. Python's OpenSSL knows the system's, and its answer is passed on by the
variables that both read.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import MutableMapping

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def show_the_systems(environment: MutableMapping[str, str] = os.environ) -> None:
    """Name the system's authorities to libpq, unless somebody has named some."""
    if environment.get(FILE) or environment.get(FOLDER):
        return
    known = ssl.get_default_verify_paths()
    if known.cafile:
        environment[FILE] = known.cafile
    if known.capath:
        environment[FOLDER] = known.capath
