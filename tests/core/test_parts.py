"""What comes in parts, each committed by itself, gives the same records as what comes at once."""

import zlib
from pathlib import Path

import pytest

from tests import worlds
from tests.core.test_process import drain, folded, hub
from tests.journeys.crowd import crowd


@pytest.mark.parametrize("seed", [26, *range(40, 46)])  # 26: somebody deleted is named again
async def test_a_part_in_one_piece_and_the_rest_one_by_one_gives_the_same_records(tmp_path: Path, seed: int) -> None:
    events = crowd(1, first=seed)
    wanted = await folded(tmp_path / "straight", events)
    rest = [event for event in events if zlib.crc32(event.id.encode()) % 3 == 0]
    async with hub(tmp_path / "parts") as (bus, store):
        for part in ([event for event in events if event not in rest], *([event] for event in rest)):
            await worlds.publish(bus, part, fetched=False)
            await drain(bus, store)
        assert await worlds.records(store) == wanted
