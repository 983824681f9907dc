"""Real homeservers as processes of their own, started under the start contract: Hearth, or any with a start script."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import trustme

PROJECT = Path(__file__).parent.parent.parent
START_HEARTH = PROJECT / "tests/conformance/start-homeserver"
START_SYNAPSE = PROJECT / "bench/start-synapse"
READY_S = 60


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority of the test's own, and a certificate of `localhost` with its key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make them in `folder`."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        made = cls(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
        authority.cert_pem.write_to_path(made.authority)
        issued.private_key_pem.write_to_path(made.key)
        for pem in issued.cert_chain_pems:
            pem.write_to_path(made.certificate, append=True)
        return made


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Homeserver:
    """A server process on loopback. `name` is its server name, `url` where clients reach it."""

    def __init__(self, folder: Path, start: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._start = start
        client_port, federation_port = free_ports(2)
        self.name = f"localhost:{federation_port}"
        self.url = f"http://127.0.0.1:{client_port}"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HS_")},
            "HS_NAME": self.name,
            "HS_DIR": str(folder / "data"),
            "HS_CLIENT_PORT": str(client_port),
            "HS_FED_PORT": str(federation_port),
            "HS_SHARED_SECRET": "a shared secret",
            **environment,
        }
        self.process: asyncio.subprocess.Process | None = None

    @classmethod
    async def started(
        cls, folder: Path, certificates: Certificates, start: Path = START_HEARTH, **environment: str
    ) -> Self:
        """A server that answers; `environment` is more of the start contract's variables."""
        folder.mkdir(parents=True, exist_ok=True)
        server = cls(
            folder,
            start,
            {
                "HS_TLS_CERT": str(certificates.certificate),
                "HS_TLS_KEY": str(certificates.key),
                "HS_CA_CERT": str(certificates.authority),
                **environment,
            },
        )
        await server.start()
        return server

    @property
    def log(self) -> str:
        """What the server printed so far."""
        return (self.folder / "out.log").read_text(errors="replace")

    async def start(self) -> None:
        """Start, on the data of the last time, and wait until it answers."""
        with (self.folder / "out.log").open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                self._start, env=self._environment, stdout=out, stderr=out, start_new_session=True
            )
        async with aiohttp.ClientSession() as http, asyncio.timeout(READY_S):
            while not await self._answers(http):
                if self.process.returncode is not None:
                    raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log[-4000:]}")
                await asyncio.sleep(0.05)

    async def _answers(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"{self.url}/_matrix/client/versions") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it at once, its worker processes too, as when the power fails."""
        assert self.process is not None
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
