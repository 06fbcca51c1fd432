"""What creates infrastructure of a tenant's own: one port, three engines, and a process per operation.

``operation.py`` is what crosses the process boundary, ``runner.py`` the operator's side of it, ``worker.py`` the other.
``pulumi/``, ``terraform/`` and ``embedded/`` are the engines. The operator's own process imports none of them.
"""
