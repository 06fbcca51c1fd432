"""What counts as a difference between what was counted and what came back."""

from paybill.backups.ledger import differences
from paybill.backups.manifest import Ledger, Sequence, Table
from paybill.backups.programs import Login
from paybill.backups.tools import Tools


def table(rows: int = 2, checksum: str = "1", name: str = "t") -> Ledger:
    return Ledger(tables=(Table(name=name, rows=rows, checksum=checksum),))


def sequence(last: int | None, *, up: bool = True) -> Ledger:
    return Ledger(sequences=(Sequence(name="s", last=last, up=up),))


def test_the_same_is_the_same():
    assert differences(table(), table()) == ()


def test_every_difference_is_named():
    assert differences(table(), table(checksum="2")) == ("table t has 2 rows whose checksum is another one",)
    assert differences(table(), table(rows=0)) == ("table t had 2 rows, the backup has 0",)
    assert differences(table(), Ledger()) == ("table t is not in the backup",)
    assert differences(Ledger(), table()) == ("table t is in the backup only",)
    assert differences(Ledger(objects=("relation i t_key",)), Ledger()) == ("relation i t_key is not in the backup",)


def test_a_sequence_may_have_gone_on_and_not_back():
    assert differences(sequence(5), sequence(9)) == ()
    assert differences(sequence(None), sequence(1)) == ()
    assert differences(sequence(5), sequence(4)) == ("sequence s stood at 5, in the backup at 4",)
    assert differences(sequence(5), sequence(None)) == ("sequence s stood at 5, in the backup at None",)
    assert differences(sequence(-5, up=False), sequence(-9, up=False)) == ()
    assert differences(sequence(-5, up=False), sequence(-4, up=False))


def test_which_programs_fit_which_server(tmp_path):
    fits = {(made, server): Tools(tmp_path, made, 0).fits(server) for made in (15, 16, 17, 18) for server in (15, 17)}
    assert [pair for pair, fit in fits.items() if fit] == [(15, 15), (16, 15), (17, 17), (18, 17)]


def test_a_login_shows_no_password():
    assert "hunter2" not in repr(Login({}, "d", "u", "hunter2"))
