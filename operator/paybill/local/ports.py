"""Free ports on the loopback interface, chosen once and kept while they stay free.

Kept, because kubeconfigs and connection strings that people copied should work after ``paybill down`` and ``up``.
Chosen below the range from which the kernel picks ports for outgoing connections, so that none is lost between our
looking and the server's binding.
"""

import random
import socket
from collections.abc import Iterable, Mapping

from paybill.api.failures import Blocked

_RANGE = range(20_000, 32_000)
_TRIES = 200


def choose(names: Iterable[str], kept: Mapping[str, int]) -> dict[str, int]:
    """A free port for each of ``names``: the one in ``kept`` where it is still free, else another."""
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        if port is None or port in chosen.values() or not is_free(port):
            port = _another(set(chosen.values()))
        chosen[name] = port
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _another(taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311  # nothing secret hangs on it
        if port not in taken and is_free(port):
            return port
    raise Blocked("NoFreePort", f"none of {_TRIES} ports tried between {_RANGE.start} and {_RANGE.stop} is free")
