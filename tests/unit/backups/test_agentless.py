"""What of a dump is agents', told by the archive's table of contents."""

from paybill.backups.agentless import without

HEAD = ["; Archive created at 2026-11-29", ";     Format: CUSTOM"]
TABLE = "215; 1259 16405 TABLE t_k3x9m2qd orders pb_k3x9m2qd_owner"
ROWS = "3456; 0 16405 ROW SECURITY t_k3x9m2qd orders pb_k3x9m2qd_owner"
OPEN = "3460; 3256 16500 POLICY t_k3x9m2qd orders pba_support_open pb_k3x9m2qd_owner"
PASS = "3461; 3256 16501 POLICY t_k3x9m2qd orders pba_pass pb_k3x9m2qd_owner"
OWN = "3462; 3256 16502 POLICY t_k3x9m2qd orders mine pb_k3x9m2qd_owner"
WRITE = "3463; 2620 16503 TRIGGER t_k3x9m2qd orders pba_write_insert pb_k3x9m2qd_owner"
TRIGGER = "3464; 2620 16504 TRIGGER t_k3x9m2qd orders touch pb_k3x9m2qd_owner"
SPACES = "3465; 0 16406 ROW SECURITY t_k3x9m2qd my orders pb_k3x9m2qd_owner"


def test_a_dump_without_agents_is_restored_whole():
    assert without([*HEAD, TABLE, ROWS, OWN, TRIGGER]) is None


def test_what_agents_made_stays_out_and_the_tenants_own_stays_in():
    assert without([*HEAD, TABLE, ROWS, OPEN, PASS, WRITE, TRIGGER]) == [*HEAD, TABLE, TRIGGER]


def test_row_security_that_the_tenant_uses_itself_stays():
    assert without([TABLE, ROWS, OPEN, PASS, OWN]) == [TABLE, ROWS, OWN]


def test_row_security_of_another_table_stays():
    assert without([TABLE, SPACES, OPEN]) == [TABLE, SPACES]


def test_triggers_alone_are_left_out_too():
    assert without([TABLE, WRITE]) == [TABLE]
