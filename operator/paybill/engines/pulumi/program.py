"""The program of a request: the built-in one of its cloud, or a folder of the user's own.

Inline: it runs in a thread of this process, which the CLI calls back. What it raises is kept as it was raised, so
that nobody needs to read it out of the text that the CLI makes of it.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from paybill.desired.stack import FoundationMissing
from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError
from paybill.engines.pulumi import own
from paybill.engines.pulumi.programs import catalog


class Program:
    """Callable by the Automation API; ``guarded``: see Stack."""

    def __init__(self, request: Request, *, guarded: bool = True) -> None:
        self._request = request
        self._guarded = guarded
        self._folder = _folder(request.path) if request.path else None
        self.raised: Exception | None = None
        """What the last run raised."""

    def __call__(self) -> None:
        """Declare the stack's resources and export what it hands over."""
        self.raised = None
        try:
            own.begin(self._request.inputs, guarded=self._guarded)
            if self._folder is not None:
                _run(self._folder)
            else:
                own.hand_over(**catalog.declare(self._request.inputs, guarded=self._guarded))
        except Exception as error:
            self.raised = error
            raise
        except SystemExit as error:
            self.raised = RuntimeError(f"the program called exit({error.code})")
            raise self.raised from None

    def finder(self) -> Callable[[str, str, dict[str, object]], str | None] | None:
        """What the user's folder offers to find resources by, where it does."""
        if self._folder is None or not (self._folder / "recover.py").is_file():
            return None
        found = runpy.run_path(str(self._folder / "recover.py")).get("find")
        return found if callable(found) else None

    def error(self) -> EngineError | None:
        """What the last run raised, in words for people."""
        match self.raised:
            case None:
                return None
            case FoundationMissing() as error:
                return EngineError(Exit.USER, "FoundationMissing", str(error.args[0]))
            case catalog.NoProgramError() as error:
                return EngineError(Exit.USER, "ProgramMissing", str(error.args[0]))
            case ImportError() as error:
                message = f"The program needs {error.name or 'a package'}, which is not installed here: {error}"
                return EngineError(Exit.USER, "ProgramMissing", message)
            case error:
                message = f"The program raised {type(error).__name__}{_place(error, self._folder)}: {error}"
                return EngineError(Exit.USER, "ProgramFailed", message)


def _folder(path: str) -> Path:
    folder = Path(path)
    if not (folder / "__main__.py").is_file():
        message = f"There is no program in {path}: spec.engine.programPath must be a folder with a __main__.py"
        raise EngineError(Exit.USER, "ProgramMissing", message)
    return folder.resolve()


def _run(folder: Path) -> None:
    """Run the folder afresh: what its own modules declare when they are imported must be declared in every run."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and file and Path(file).is_relative_to(folder):
            del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        runpy.run_path(str(folder / "__main__.py"), run_name="__main__")
    finally:
        sys.path.remove(str(folder))


def _place(error: BaseException, folder: Path | None) -> str:
    """Where in the user's folder it was raised, such as `` in __main__.py line 7``."""
    if folder is None:
        return ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f" in {Path(frame.filename).relative_to(folder)} line {frame.lineno}"
    return ""
