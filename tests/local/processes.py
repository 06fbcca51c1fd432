"""What runs below a process, from /proc: the tests ask the kernel, not the code that started them."""

from pathlib import Path


def descendants(pid: int) -> set[int]:
    """All living processes below ``pid``."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def alive(pids: set[int]) -> set[int]:
    """Those of ``pids`` that still run; one that only waits to be collected by its parent does not."""
    return {pid for pid in pids if _state(pid) not in (None, "Z", "X")}


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    content = Path(f"/proc/{pid}/environ").read_text()
    return dict(entry.split("=", 1) for entry in content.split("\0") if entry)
