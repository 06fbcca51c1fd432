"""Ports stay the same while they are free, and others are found when they are not."""

import socket

from paybill.local import ports


def test_ports_are_kept_while_they_are_free():
    first = ports.choose(["api", "etcd"], {})
    assert ports.choose(["api", "etcd"], first) == first


def test_a_port_taken_by_another_program_is_replaced_and_the_others_kept():
    first = ports.choose(["api", "etcd"], {})
    with socket.create_server(("127.0.0.1", first["api"])):
        second = ports.choose(["api", "etcd"], first)
    assert second["api"] != first["api"]
    assert second["etcd"] == first["etcd"]


def test_no_two_servers_get_one_port():
    kept = dict.fromkeys(["a", "b", "c"], ports.choose(["x"], {})["x"])
    assert len(set(ports.choose(["a", "b", "c"], kept).values())) == 3
