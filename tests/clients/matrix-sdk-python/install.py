"""Installs the Python bindings of the Rust SDK into a folder: `python install.py FOLDER`.

They are one shared library, which wants glibc 2.38. On an older Debian the libc of its next release is put beside it
(`FOLDER/libc`), and the flows are run by that libc's own loader; nothing of the system changes. Where that cannot be
had the exit status is 1 and one sentence says why.
"""

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GLIBC = (2, 38)
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
NEXT_RELEASE = {"bookworm": "trixie"}


class Impossible(Exception):
    """They cannot be had here; the text says why."""


def run(*command: str, cwd: Path | None = None) -> str:
    """What the command prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"{command[0]} {command[1]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def is_too_old() -> bool:
    """Whether this system's libc is older than what the library wants."""
    name, version = platform.libc_ver()
    if name != "glibc" or platform.machine() != "x86_64":
        raise Impossible(f"it is built for glibc on x86_64, and this is {name or 'no glibc'} on {platform.machine()}")
    return tuple(int(part) for part in version.split(".")[:2]) < GLIBC


def add_package(folder: Path) -> None:
    """The wheel, unpacked: any of its builds does, for it is reached by ctypes."""
    with tempfile.TemporaryDirectory() as wheels:
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--platform=manylinux_2_38_x86_64", "--python-version=3.13", "--abi=cp313",
            "--require-hashes", f"--requirement={HERE / 'requirements.txt'}", f"--dest={wheels}",
        )  # fmt: skip
        for wheel in Path(wheels).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder / "site")


def add_libc(folder: Path) -> None:
    """The libc of Debian's next release, from where this system has its packages."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Impossible("it wants glibc 2.38, and a newer libc is taken from Debian only")
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    newer = NEXT_RELEASE.get(codename)
    if newer is None:
        raise Impossible(f"it wants glibc 2.38, and no newer libc is known for {codename or 'this system'}")
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages")
    found = re.search(rf"^{codename} (\S+)$", targets, re.MULTILINE)
    if found is None:
        raise Impossible(f"apt has no source of {codename}")
    lists = folder / "apt"
    (lists / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    (lists / "lists/partial").mkdir(parents=True, exist_ok=True)
    (lists / "status").touch()
    (lists / "sources.list").write_text(f"deb [signed-by={KEYS}] {found[1]} {newer} main\n")
    (lists / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{lists}/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::State "{lists}";'
        f'Dir::State::status "{lists}/status"; Dir::Cache "{lists}/cache"; APT::Sandbox::User "";\n'
    )
    run("apt-get", "-c", str(lists / "apt.conf"), "--quiet", "update")
    run("apt-get", "-c", str(lists / "apt.conf"), "--quiet", "download", "libc6", cwd=lists)
    for package in lists.glob("libc6_*.deb"):
        run("dpkg-deb", "--extract", str(package), str(folder / "libc"))
    shutil.rmtree(lists)


def install(folder: Path) -> None:
    """Install, unless it is there. Raises Impossible."""
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == (HERE / "requirements.txt").read_text():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    too_old = is_too_old()
    add_package(folder)
    if too_old:
        add_libc(folder)
    ready.write_text((HERE / "requirements.txt").read_text())


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]).absolute())
    except Impossible as error:
        sys.exit(f"The Rust SDK's bindings cannot be had here: {error}")
