"""Whatever the network does, in the end all servers of a room agree.

HEARTH_SIMULATIONS is the number of histories (some by default), HEARTH_SEED where to begin: a failure names its seed,
and fails again with HEARTH_SIMULATIONS=12 and the same PYTHONHASHSEED.
"""

import os
import secrets
from pathlib import Path

import pytest

from tests.federation.simulation import World

RUNS = int(os.environ.get("HEARTH_SIMULATIONS", "15"))
ROOMS_AT_ONCE = 12
STEPS = 25
WORLDS = -(-RUNS // ROOMS_AT_ONCE)
FIRST_SEED = int(os.environ.get("HEARTH_SEED", secrets.randbelow(10**6) if "HEARTH_SIMULATIONS" in os.environ else 1))


@pytest.mark.parametrize("number", range(WORLDS))
async def test_all_servers_agree_when_the_network_is_whole_again(number: int, tmp_path: Path) -> None:
    seed = FIRST_SEED + number
    differences = await World(seed, tmp_path).run(min(ROOMS_AT_ONCE, RUNS - number * ROOMS_AT_ONCE), STEPS)
    hashes = os.environ.get("PYTHONHASHSEED", "(not set)")
    assert not differences, f"HEARTH_SEED={seed} PYTHONHASHSEED={hashes}: " + "\n".join(differences)
