"""A W&B server on loopback: it serves, hangs, dies or refuses at chosen moments, and keeps what it got as W&B does."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40
HANG = "hang"
Fault = int | str | None  # a status of HTTP, HANG, or None: serve


@dataclass
class Record:
    """What the server knows of a run."""

    name: str
    inserted: int = 0
    lines: list[str] = field(default_factory=list)  # of its history, as they stand
    received: list[tuple[int, int]] = field(default_factory=list)  # offset and number of lines of each piece of it
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # group, job type, tags and display name
    exit_code: int | None = None
    complete: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Of the history: of a step that was sent again, the last."""
        rows = (json.loads(line) for line in self.lines)
        return list({row["_step"]: row for row in rows}.values())

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows() if name in row]

    def value(self, key: str) -> Any:
        """Of the configuration."""
        return self.config[key]["value"]


class FakeWandb:
    """Within its ``with``, a server; ``environment`` makes a process a client of it.

    Args:
        fault: answers every request from the start, until ``fail`` sets another.
    """

    def __init__(self, fault: Fault = None) -> None:
        self.fault: Fault = fault
        self.runs: dict[str, Record] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.broken = threading.Event()  # set when a fault that was planned has come
        self._when: tuple[Callable[[Record], bool], Fault] | None = None
        self._released = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> FakeWandb:
        fake = self

        class Handler(_Handler):
            server_of = fake

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.1",  # in place of 15
        }

    def fail(self, fault: Fault) -> None:
        """Answer thus from now on; None serves again."""
        self.fault = fault
        if fault != HANG:
            self._released.set()
            self._released = threading.Event()

    def fail_when(self, condition: Callable[[Record], bool], fault: Fault | str) -> None:
        """As ``fail``, as soon as a run's record is so; "die" closes the port."""
        self._when = (condition, fault)

    def die(self) -> None:
        """Close the port: from now on connections are refused."""
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def only(self) -> Record:
        """The single run that it knows."""
        (record,) = self.runs.values()
        return record

    def record(self, name: str) -> Record:
        return self.runs.setdefault(name, Record(name))

    # What it does with a request

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            if path.startswith("/graphql"):
                return 200, {"data": self._graphql(json.loads(body))}
            if path.endswith("/file_stream"):
                return 200, self._file_stream(path.split("/")[-2], json.loads(body))
            if path.startswith("/storage/"):
                _, _, run, name = path.split("/", 3)
                self.record(run).files[name] = body
            return 200, {}

    def _graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, variables = asked["query"], asked.get("variables") or {}
        operation = asked.get("operationName") or query.split("(")[0].split()[-1]
        self.requests.append(operation)
        if operation == "UpsertBucket":
            return self._upsert(variables)
        if operation == "RunResumeStatus":
            return {"model": self._resume_status(variables)}
        if operation in ("CreateRunFiles", "RunUploadUrls"):
            run = variables["run"]
            files = [{"name": name, "uploadUrl": f"{self.url}/storage/{run}/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}
        if operation == "Viewer":
            teams = {"edges": [{"node": {"name": "lab"}}]}
            return {"viewer": {"id": "1", "entity": "lab", "username": "lab", "flags": "{}", "teams": teams}}
        if operation == "CreateArtifact":
            return self._create_artifact(variables)
        return _everything(operation)

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self.record(given["name"])
        record.inserted += 1
        if given.get("config"):
            record.config = json.loads(given["config"])
        if given.get("summaryMetrics"):
            record.summary |= json.loads(given["summaryMetrics"])
        kept = {key: given.get(key) for key in ("groupName", "jobType", "tags", "displayName", "project", "sweep")}
        record.about |= {key: value for key, value in kept.items() if value is not None}
        project = {"id": "p", "name": given.get("project") or "", "entity": {"id": "e", "name": "lab"}}
        bucket = {
            "id": f"id-{record.name}", "name": record.name, "displayName": given.get("displayName") or record.name,
            "description": None, "config": json.dumps(record.config), "sweepName": given.get("sweep"),
            "historyLineCount": len(record.lines), "project": project,
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": record.inserted == 1}}

    def _resume_status(self, asked: dict[str, Any]) -> dict[str, Any]:
        bucket = None
        if (record := self.runs.get(asked["name"])) and record.inserted:
            bucket = {
                "id": f"id-{record.name}", "name": record.name, "summaryMetrics": json.dumps(record.summary),
                "displayName": record.about.get("displayName"), "logLineCount": 0,
                "historyLineCount": len(record.lines), "eventsLineCount": 0,
                "historyTail": json.dumps(record.lines[-1:]), "eventsTail": "[]", "config": json.dumps(record.config),
                "tags": record.about.get("tags", []), "notes": None, "wandbConfig": json.dumps({"t": 1}),
            }  # fmt: skip
        return {"id": "p", "name": asked.get("project"), "entity": {"id": "e", "name": "lab"}, "bucket": bucket}

    def _file_stream(self, run: str, sent: dict[str, Any]) -> dict[str, Any]:
        record = self.record(run)
        for name, piece in (sent.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                offset, content = piece["offset"], piece["content"]
                record.received.append((offset, len(content)))
                record.lines[offset : offset + len(content)] = content
            elif name == "wandb-summary.json":
                record.summary |= json.loads(piece["content"][-1])
        record.complete = record.complete or bool(sent.get("complete"))
        if sent.get("exitcode") is not None:
            record.exit_code = sent["exitcode"]
        return {}

    def _create_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts.append(given)
        made = {"id": "a", "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
        return {"createArtifact": {"artifact": made}}

    def after(self, path: str) -> None:
        """Whether the fault that was planned comes now."""
        if self._when is None or not path.endswith("/file_stream"):
            return
        condition, fault = self._when
        if condition(self.record(path.split("/")[-2])):
            self._when = None
            if fault == "die":
                threading.Thread(target=self.die, daemon=True).start()
            else:
                self.fail(fault)
            self.broken.set()

    def wait_until_released(self) -> None:
        self._released.wait(600)


def _everything(operation: str) -> dict[str, Any]:
    return {operation[:1].lower() + operation[1:]: None}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FakeWandb

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that ends closes nothing
            super().handle()

    def _reply(self) -> None:
        fake = self.server_of
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if fake.fault == HANG:
            fake.wait_until_released()
            return
        status, answer = (fake.fault, {}) if isinstance(fake.fault, int) else fake.answer(self.command, self.path, body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        fake.after(self.path)

    do_GET = do_POST = do_PUT = _reply
