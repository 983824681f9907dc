"""Runs the flows of real clients that need more than Python, each client against a server of its own.

    python -m tests.clients.run [matrix-js-sdk] [matrix-rust-sdk]

Prints what each flow says; the exit status is the number of flows that failed.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.homeserver import Certificates, Homeserver

HERE = Path(__file__).parent
FLOW_S = 300
JS_FLOWS = ("talk", "trust", "conversation", "rooms", "services", "sliding")


def installed_js() -> Iterator[tuple[str, list[str]]]:
    """The flows of matrix-js-sdk, once it is installed."""
    folder = HERE / "matrix-js-sdk"
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True)
    for flow in JS_FLOWS:
        yield flow, [str(folder / "node_modules/.bin/node"), "--no-warnings", str(folder / f"{flow}.mjs")]


def built_rust() -> Iterator[tuple[str, list[str]]]:
    """The flow of the Rust SDK, once it is built, which takes minutes the first time."""
    folder = HERE / "matrix-rust-sdk"
    subprocess.run(["cargo", "build", "--quiet"], cwd=folder, check=True)
    yield "talk and room list", [str(folder / "target/debug/hearth-matrix-rust-sdk")]


CLIENTS = {"matrix-js-sdk": ("npm", installed_js), "matrix-rust-sdk": ("cargo", built_rust)}


async def run(client: str, folder: Path) -> int:
    """Run one client's flows; returns how many failed."""
    tool, prepare = CLIENTS[client]
    if shutil.which(tool) is None:
        print(f"{client}: not run, for there is no {tool} here", file=sys.stderr)
        return 1
    flows = list(prepare())
    failed = 0
    server = await Homeserver.started(folder / client, Certificates.make(folder))
    try:
        for name, command in flows:
            print(f"=== {client}: {name}", flush=True)
            process = await asyncio.create_subprocess_exec(*command, server.url)
            try:
                async with asyncio.timeout(FLOW_S):
                    status = await process.wait()
            except TimeoutError:
                process.kill()
                status = await process.wait()
            if status:
                failed += 1
                print(f"=== {client}: {name} failed with {status}", flush=True)
    finally:
        await server.kill()
        errors = [line for line in server.log.splitlines() if " error " in line]
        print("\n".join(errors), file=sys.stderr)
    return failed + len(errors)


async def main() -> int:
    """Run the clients that are named, or all."""
    failed = 0
    for client in sys.argv[1:] or CLIENTS:
        with tempfile.TemporaryDirectory(prefix="hearth-clients-") as folder:
            failed += await run(client, Path(folder))
    print(f"=== {failed} failed" if failed else "=== all flows of all clients worked")
    return failed


if __name__ == "__main__":
    sys.exit(min(asyncio.run(main()), 100))
