"""Which account a connection has at its source: asked once, kept on the bus; keys begin with it."""

import asyncio
from collections.abc import Container

from core.errors import TransientError
from core.ingest.cursors import Cursors
from core.ingest.intake import Intake
from core.ingest.pace import Backoff, told
from core.ingest.tools import Tools

_PART = "account"


async def learn(tools: Tools) -> None:
    """Ends when every account is known. What `account:` in hub.yaml says is known from the start and is not asked."""
    cursors = Cursors(tools.bus)
    await recall(cursors, tools.intake, tools.connections)
    async with asyncio.TaskGroup() as asking:
        for name in tools.connections.keys() - tools.intake.accounts.keys():
            asking.create_task(_ask(tools, cursors, name), name=f"account of {name}")


async def recall(cursors: Cursors, intake: Intake, connections: Container[str]) -> None:
    """What was learnt before, by whichever process."""
    for name, account in (await cursors.accounts()).items():
        if name in connections and name not in intake.accounts:
            intake.know(name, account)


async def _ask(tools: Tools, cursors: Cursors, name: str) -> None:
    connection = tools.connections[name]
    backoff = Backoff(tools.pace)
    while True:
        try:
            account = await connection.connector.account(tools.https[name], connection.settings)
            if not account:
                raise TransientError("the source names no account")
            if not isinstance(account, str):
                raise TypeError("the account is no text")
        except Exception as failure:
            error = told(failure)
            tools.board.broke(name, _PART, error)
            await asyncio.sleep(backoff.after(error))
            continue
        await cursors.save_account(name, account)
        tools.intake.know(name, account)
        tools.board.healed(name, _PART)
        return
