"""Synapse as a subprocess: starts the driver and asks it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

VARIABLE = "HEARTH_SYNAPSE_PYTHON"
"""Names the Python that has matrix-synapse installed."""
_DRIVER = Path(__file__).with_name("synapse_driver.py")


class Synapse:
    """A running driver. `ask` sends one question and waits for its answer."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, str(_DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}
        )

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver ended with status {self._process.wait()}; its error is on stderr")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
