"""`hearth run`: one process that serves, or a supervisor of several."""

import gc
import os
import sys
from pathlib import Path

from homeserver.cli import EXIT_CONFIG, fail
from homeserver.config import Config
from homeserver.config.server_sections import Listener
from homeserver.runtime.client_tls import import_aiohttp


def run(config: Config, config_path: str, worker: int | None) -> int:
    """Serve until SIGTERM or Ctrl-C. `worker`: which of the supervisor's children this process is."""
    if not os.path.exists(config.server.signing_key):
        fail(f"There is no signing key at {config.server.signing_key}. `hearth init` makes one.", EXIT_CONFIG)
    if worker is None:
        print(announcement(config, config_path), flush=True)
        if config.workers > 1:
            from homeserver.cli_supervisor import supervise

            return supervise(config, config_path)
    else:
        die_with_parent()
    return _serve(config, worker)


def _serve(config: Config, worker: int | None) -> int:
    # What is imported and built stays: looking through it for garbage, time and again, is a sixth of the start.
    gc.disable()
    import_aiohttp()
    import uvloop

    from homeserver.app import serve

    pid_file = config.server.pid_file if worker is None else None
    try:
        if pid_file:
            Path(pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
        uvloop.run(serve(config, worker))
    except OSError as error:
        fail(str(error.strerror or error))
    finally:
        if pid_file:
            Path(pid_file).unlink(missing_ok=True)
    return 0


def announcement(config: Config, config_path: str) -> str:
    """What whoever starts the server wants to know: where it listens, how to get an account, what a client needs."""
    lines = [f"Hearth for {config.server.name}"]
    for listener in config.listeners:
        lines += [f"  listens at {place}, for {', '.join(listener.kinds)}" for place in places(listener)]
    option = f" --config {config_path}" if config_path != "hearth.yaml" else ""
    lines.append(f"  first account:  hearth user add{option} --admin NAME")
    lines.append(f"  in a client:    homeserver URL {config.public_base_url}, user @NAME:{config.server.name}")
    if config.federation.enabled:
        lines.append(f"  other servers:  {_how_others_find(config)}")
    else:
        lines.append("  other servers:  federation is turned off")
    if config.registration.enabled and not config.registration.requires_token:
        lines.append("  anybody who reaches this server can register an account (registration.requires_token is false)")
    return "\n".join(lines)


def places(listener: Listener) -> list[str]:
    """The URLs of a listener."""
    if listener.unix_socket is not None:
        return [f"unix:{listener.unix_socket}"]
    scheme = "https" if listener.tls_certificate else "http"
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}" for host in listener.bind]


def _how_others_find(config: Config) -> str:
    name = config.server.name
    if name.partition(":")[0] == "localhost":
        return "only those on this machine can find a server called localhost"
    if name.rpartition("]")[2].partition(":")[2]:
        return f"connect to {name} over HTTPS: that port has to lead here"
    return f"ask https://{name}/.well-known/matrix/server, else connect to {name}:8448 over HTTPS"


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, however it went (Linux only)."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() == 1:  # it was gone before
        os.kill(os.getpid(), signal.SIGTERM)
