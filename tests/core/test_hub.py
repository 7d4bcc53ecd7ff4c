"""What the composition root decides by itself."""

import socket
from pathlib import Path

from core.hub.run import ROLES, process_name
from tests.hubs import free_ports, hub, settings, tools


def test_processes_report_under_their_host_and_roles_and_under_the_same_name_after_a_restart() -> None:
    assert process_name(frozenset({"api", "ingest"})) == f"{socket.gethostname()}-ingest-api"
    assert len({process_name(frozenset(roles)) for roles in [*[{role} for role in ROLES], ROLES]}) == 5


async def test_browsers_reach_the_page_under_the_names_that_the_configuration_gives(tmp_path: Path) -> None:
    api, webhooks = (f"127.0.0.1:{port}" for port in free_ports(2))
    server = {"api": api, "webhooks": webhooks, "names": ["hub.example.com"]}
    async with (
        tools(tmp_path / "tools", ["guru"]) as made,
        hub(tmp_path / "hub", settings(made), server=server) as running,
    ):
        running.api, running.webhooks = f"http://{api}", f"http://{webhooks}"
        running.start()
        await running.ready()
        for name, status in (("hub.example.com", 200), ("other.example.com", 421)):
            async with made.session.get(running.api, headers={"Host": name}) as answer:
                assert answer.status == status
        await running.stop()


async def test_a_monitor_gets_figures_and_health_and_nothing_else_from_a_listener_of_its_own(tmp_path: Path) -> None:
    api, webhooks, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    server = {"api": api, "webhooks": webhooks, "metrics": metrics}
    async with (
        tools(tmp_path / "tools", ["guru"]) as made,
        hub(tmp_path / "hub", settings(made), server=server) as running,
    ):
        running.api, running.webhooks = f"http://{api}", f"http://{webhooks}"
        running.start()
        await running.ready()
        expected = {"metrics": 200, "healthz": 200, "readyz": 200, "v1/sources": 404, "": 404}
        for path, status in expected.items():
            async with made.session.get(f"http://{metrics}/{path}") as answer:
                assert answer.status == status, path
                said = await answer.text()
                assert path != "metrics" or "hub_applied" in said
                assert status == 200 or answer.content_type == "application/problem+json"
        await running.stop()
