"""What the composition root decides by itself."""

import socket

from core.hub.run import ROLES, process_name


def test_processes_report_under_their_host_and_roles_and_under_the_same_name_after_a_restart() -> None:
    assert process_name(frozenset({"api", "ingest"})) == f"{socket.gethostname()}-ingest-api"
    assert len({process_name(frozenset(roles)) for roles in [*[{role} for role in ROLES], ROLES]}) == 5
