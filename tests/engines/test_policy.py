"""While the installation is halted nothing is taken away, not even by an update that nobody looked at before."""

from pathlib import Path

import pytest

from paybill.desired.stack import Change
from paybill.engines.operation import Exit, Result
from paybill.engines.policy import require_unhalted
from paybill.engines.port import EngineError
from tests.engines.asked import request

SWAP = Change(action="replace", address="role", type="t")
CREATE = Change(action="create", address="bucket", type="t")


@pytest.mark.parametrize("action", ["delete", "replace"])
def test_what_would_take_something_away_is_refused_by_name(tmp_path: Path, action: str) -> None:
    looked = Result(changes=(CREATE, SWAP.model_copy(update={"action": action})), digest="sha256:d")
    with pytest.raises(EngineError) as refused:
        require_unhalted(request(tmp_path, takes_away=False), looked)
    assert (refused.value.exit_code, refused.value.failed.reason) == (Exit.POLICY, "Halted")
    assert f"{action} role" in refused.value.failed.message
    assert refused.value.result == looked
    require_unhalted(request(tmp_path), looked)  # the other half of the proof: it is the halt that refuses


def test_what_takes_nothing_away_goes_on(tmp_path: Path) -> None:
    require_unhalted(request(tmp_path, takes_away=False), Result(changes=(CREATE,)))
