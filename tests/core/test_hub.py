"""What the composition root decides by itself."""

import socket
from pathlib import Path

import pytest

from core.config import load
from core.hub.run import ROLES, process_name, why_silent
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
        async with made.session.post(f"{running.api}/v1/ring", headers=running.authorization, json={}) as answer:
            assert "no telephone system is connected" in (await answer.json())["detail"]
        await running.stop()


DEMO = "data: var\nconnections:\n  calls: {type: aircall, mock: true, account: example}\n"


@pytest.mark.parametrize(
    ("text", "why", "remedy"),
    [
        (DEMO, "the mock of calls runs with the role ingest, in another process", "var/mocks/calls.run"),
        (
            DEMO.replace("mock: true", "mock: true, base_url: 'http://127.0.0.1:9'"),
            "the mock of calls was started elsewhere",
            "POST http://127.0.0.1:9/_mock/ring",
        ),
        (DEMO.replace("mock: true", "api_id: a, api_token: b"), "the sources are real", "`mock: true`"),
    ],
)
def test_a_hub_in_parts_says_truly_why_it_can_let_nobody_ring(tmp_path: Path, text: str, why: str, remedy: str) -> None:
    (tmp_path / "hub.yaml").write_text(text)
    told, what = why_silent(load(tmp_path / "hub.yaml", {}))
    assert told == why and remedy in what
