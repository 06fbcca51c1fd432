"""A worker whose engine does what the request's ``path`` says: the real worker around an engine for tests.

Started as a program by the tests of the runner; ``StandIn`` is the engine that it is given for Embedded.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from paybill.desired.stack import Change, DatabaseOutput, StackOutputs
from paybill.engines import worker
from paybill.engines.operation import Exit, Progress, Request, Result
from paybill.engines.port import EngineError, Tell
from paybill.engines.redaction import KNOWN

MADE = "made-by-the-engine-9"
CHANGE = Change(action="create", address="urn:a", type="test:index:A")


class StandIn:
    """Each behaviour is named by the request's ``path``."""

    def up(self, request: Request, tell: Tell) -> Result:
        """Behave as the request says."""
        assert request.path is not None
        behaviour, _, argument = request.path.partition("=")
        result: Result = getattr(self, behaviour)(request, tell, argument)
        return result

    preview = preview_destroy = drift = refresh = destroy = outputs = recover = up

    def good(self, request: Request, tell: Tell, argument: str) -> Result:
        tell(Progress(phase="apply", resource="a", action="create"))
        password = request.credentials.get("PASSWORD", "none")
        database = DatabaseOutput(host="db", admin_user="admin", admin_password=password)
        return Result(changes=(CHANGE,), outputs=StackOutputs(database=database))

    def long(self, request: Request, tell: Tell, argument: str) -> Result:
        """Its result is longer than a line may be."""
        return Result(changes=(CHANGE.model_copy(update={"address": "x" * (5 << 20)}),))

    def nothing(self, request: Request, tell: Tell, argument: str) -> Result:
        return Result(counts={"same": 1})

    def chatty(self, request: Request, tell: Tell, argument: str) -> Result:
        KNOWN.learn(MADE)
        for text in (*request.credentials.values(), MADE):
            sys.stdout.write(f"said {text}\n")
            subprocess.run(["echo", "told", text], check=True)
            sys.stderr.write(f"erred {text}\n")
            tell(Progress(phase="apply", resource=f"{text}-resource"))
        raise EngineError(Exit.USER, "Loud", f"it said {' and '.join((*request.credentials.values(), MADE))}")

    def raising(self, request: Request, tell: Tell, argument: str) -> Result:
        raise {"RuntimeError": RuntimeError, "OSError": OSError, "ModuleNotFoundError": ModuleNotFoundError}[argument](
            f"with {request.credentials.get('PASSWORD')}"
        )

    def leaving(self, request: Request, tell: Tell, argument: str) -> Result:
        sys.exit(3)

    def environment(self, request: Request, tell: Tell, argument: str) -> Result:
        for name, value in sorted(os.environ.items()):
            tell(Progress(phase="environment", resource=name, action=value))
        inherited = subprocess.run(["cat"], stdin=None, capture_output=True, check=True).stdout
        tell(Progress(phase="input", resource=inherited.decode()))
        open_files = sorted(str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists())
        tell(Progress(phase="files", resource=" ".join(open_files)))
        return Result()

    def gated(self, request: Request, tell: Tell, argument: str) -> Result:
        """Waits for the file ``go`` beside its folder."""
        tell(Progress(phase="waiting"))
        while not Path(argument).exists():
            time.sleep(0.02)
        return self.good(request, tell, "")

    def obedient(self, request: Request, tell: Tell, argument: str) -> Result:
        tell(Progress(phase="waiting"))
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            stopped = Result(pending=("urn:half",))
            raise EngineError(Exit.TRANSIENT, "Interrupted", "stopped in order", result=stopped) from None
        return Result()

    def sleeping(self, request: Request, tell: Tell, argument: str) -> Result:
        tell(Progress(phase="waiting"))
        time.sleep(600)
        return Result()

    def deaf(self, request: Request, tell: Tell, argument: str) -> Result:
        """Ignores everything, and so does its tool; says when it was asked."""
        asked: list[int] = []
        signal.signal(signal.SIGINT, lambda *_: asked.append(1))
        ignoring = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
        tool = subprocess.Popen([sys.executable, "-c", ignoring])
        tell(Progress(phase="tool", resource=str(tool.pid)))
        while True:
            time.sleep(0.02)
            if asked:
                asked.clear()
                tell(Progress(phase="asked"))

    def orphaning(self, request: Request, tell: Tell, argument: str) -> Result:
        tool = subprocess.Popen(["sleep", "600"])
        tell(Progress(phase="tool", resource=str(tool.pid)))
        time.sleep(600)
        return Result()

    def flooding(self, request: Request, tell: Tell, argument: str) -> Result:
        """Writes ``argument`` MiB without a line's end to where printed text goes."""
        block = b"x" * (1024 * 1024)
        for _ in range(int(argument)):
            os.write(1, block)
        return Result()

    def forging(self, request: Request, tell: Tell, argument: str) -> Result:
        """Finds the descriptor of the answers and writes ``argument`` MiB of rubbish there."""
        lines = next(int(one.name) for one in Path("/proc/self/fd").iterdir() if one.readlink().name == "lines")
        os.write(lines, b'garbage\n{"type": "result", "changes": 7}\n\xff\xfe\n')
        for _ in range(int(argument)):
            os.write(lines, b"y" * (1024 * 1024))
        os.write(lines, b"\n")
        time.sleep(1 if int(argument) < 64 else 600)
        return self.good(request, tell, "")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] != "missing":
        worker.UNWATCHED_SECONDS = float(sys.argv[1])
    os._exit(worker.main({"Embedded": "paybill.no_such:Engine" if "missing" in sys.argv else "__main__:StandIn"}))
