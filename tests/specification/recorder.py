"""A pytest plugin: every answer that servers give in the process of a test is held against the specification.

    pytest -p tests.specification.recorder --specification=whole

fails where an answer is not as the specification has it, though each test passes; `whole` also where an operation was
never seen to succeed. Exceptions that are listed and were not needed are named.
"""

import re
import zlib
from collections import defaultdict
from typing import Any

import pytest

from homeserver.web.dispatcher import Dispatcher
from homeserver.web.reply import Reply, Streamed
from tests.specification.answers import Answer, error_faults, faults
from tests.specification.exceptions import listed_in
from tests.specification.operations import FOLDER, PROJECT, Paths, operations

EXCEPTIONS = PROJECT / "tests/specification/exceptions.txt"
UNSEEN = PROJECT / "tests/specification/not_seen_to_succeed.txt"


class Record:
    """What was seen. Plain data, so that the workers of a run can hand it over."""

    def __init__(self) -> None:
        self.answers = 0
        self.succeeded: set[str] = set()
        self.faults: defaultdict[str, set[str]] = defaultdict(set)  # by the test that showed it

    def add(self, other: dict[str, Any]) -> None:
        """What a worker saw."""
        self.answers += other["answers"]
        self.succeeded |= set(other["succeeded"])
        for fault, tests in other["faults"].items():
            self.faults[fault] |= set(tests)

    def as_data(self) -> dict[str, Any]:
        """For `add`."""
        found = {fault: sorted(tests) for fault, tests in self.faults.items()}
        return {"answers": self.answers, "succeeded": sorted(self.succeeded), "faults": found}


class Recorder:
    """Looks over the dispatcher's shoulder."""

    def __init__(self, config: pytest.Config) -> None:
        self.record = Record()
        self._paths = Paths()
        self._test = ""
        self._whole = config.getoption("--specification") == "whole"
        self._is_worker = hasattr(config, "workerinput")
        self._original = Dispatcher.handle
        recorder = self

        async def handle(dispatcher: Dispatcher, http: Any, *args: Any, **named: Any) -> Any:
            reply = await recorder._original(dispatcher, http, *args, **named)
            if isinstance(reply, Reply | Streamed):  # no WebSocket
                recorder.look_at(http.method, http.raw_path.partition("?")[0], reply)
            return reply

        Dispatcher.handle = handle  # type: ignore[method-assign]

    def look_at(self, method: str, path: str, reply: Reply | Streamed) -> None:
        """Note one answer."""
        answer = _answer(reply)
        candidates = self._paths.find("GET" if method == "HEAD" else method, path)
        self.record.answers += 1
        if answer.status < 400:
            self.record.succeeded.update(operation.name for operation in candidates)
        found = list(error_faults(answer)) if method != "HEAD" else []
        if candidates and method != "HEAD":
            found += faults(candidates, answer)
        name = "/".join(operation.name for operation in candidates) or f"{method} {path}"
        for fault in found:
            self.record.faults[f"{name} {answer.status} {fault}"].add(self._test)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._test = item.nodeid

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            session.config.workeroutput["specification"] = self.record.as_data()  # type: ignore[attr-defined]
        elif self.complaints():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_testnodedown(self, node: Any) -> None:
        self.record.add(node.workeroutput["specification"])

    def complaints(self) -> list[str]:
        """What the step fails for."""
        allowed = listed_in(EXCEPTIONS)
        unmatched: list[str] = []
        for fault, tests in sorted(self.record.faults.items()):
            if not any(re.fullmatch(pattern, fault) for pattern in allowed):
                more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
                unmatched.append(f"{fault}\n    in {min(tests)}{more}")
        if not self._whole:
            return unmatched
        missing = {operation.name for operation in operations()} - self.record.succeeded
        named = set(listed_in(UNSEEN))
        unmatched += [f"never seen to succeed: {name}" for name in sorted(missing - named)]
        return unmatched + [f"in not_seen_to_succeed.txt, but seen: {name}" for name in sorted(named - missing)]

    def not_needed(self) -> list[str]:
        """Exceptions that are listed for nothing that was seen."""
        faults = self.record.faults
        return [p for p in listed_in(EXCEPTIONS) if not any(re.fullmatch(p, fault) for fault in faults)]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._is_worker:
            return
        complaints, record = self.complaints(), self.record
        terminalreporter.section("answers against the specification")
        for complaint in complaints:
            terminalreporter.write_line(complaint)
        if self._whole:
            for pattern in self.not_needed():
                terminalreporter.write_line(f"(exceptions.txt: not needed by this run: {pattern})")
        total = len({operation.name for operation in operations()})
        terminalreporter.write_line(
            f"{record.answers} answers, {len(record.succeeded)} of {total} operations seen to succeed, "
            f"{len(complaints)} complaints (specification: {FOLDER})"
        )


def _answer(reply: Reply | Streamed) -> Answer:
    if isinstance(reply, Streamed):
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Answer(reply.status, reply.content_type, headers, None)
    lines = reply.headers.decode().splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = reply.body
    if headers.get("content-encoding") == "gzip":
        body = zlib.decompress(body, wbits=31)
    kind = reply.content_type
    return Answer(reply.status, kind if isinstance(kind, str) else kind.decode(), headers, body)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--specification", choices=("part", "whole"), default="part")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config), "recorder of answers")
