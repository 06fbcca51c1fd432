"""What every engine refuses, whatever its tool would do: to take something away while the installation is halted.

An ``up`` is carried out without a preview where a Cell asks for none, so nobody knows before what it would do. Engines
look once more before they act, and what they see then is what is refused; an ``up`` of just that waits for the halt's
end.
"""

from __future__ import annotations

from paybill.engines.operation import Exit, Request, Result
from paybill.engines.port import EngineError


def require_unhalted(request: Request, looked: Result) -> None:
    """Raise EngineError (Halted) when an ``up`` would delete or replace anything though nothing may be taken away."""
    lost = [one for one in looked.changes if one.destructive]
    if request.takes_away or not lost:
        return
    listed = ", ".join(f"{one.action} {one.address}" for one in lost)
    message = (
        f"The installation is halted, and an update of stack {request.inputs.stack} would {listed}: nothing was done; "
        "it goes on when the halt ends (`paybill resume`)"
    )
    raise EngineError(Exit.POLICY, "Halted", message, result=looked)
