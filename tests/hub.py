"""Small hubs on loopback: as much of the Hugging Face Hub's HTTP API as datasets and models take, and of ModelScope's.

with serving({"me/pairs": {"train.jsonl": b"..."}}) as (address, asked):
    ...                       # HF_ENDPOINT=address in a process of its own: the libraries read it when imported

with serving({}, models={"me/base": files_of(folder)}, refused={"me/closed": 403}) as (address, asked): ...
with serving_modelscope({"me/base": files_of(folder)}) as (address, asked): ...      # MODELSCOPE_ENDPOINT=address
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlparse

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Answers(BaseHTTPRequestHandler):
    """A handler with the few ways that a hub answers; `reply` does it, `asked` keeps what it was asked."""

    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.reply(
            urlparse(self.path).path, {key: values[0] for key, values in parse_qs(urlparse(self.path).query).items()}
        )

    do_HEAD = do_GET

    def reply(self, path: str, query: Mapping[str, str]) -> None:
        raise NotImplementedError

    def say(self, code: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send(code, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return


@contextmanager
def serving(
    datasets: Mapping[str, Mapping[str, bytes]],
    models: Mapping[str, Mapping[str, bytes]] | None = None,
    refused: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Serve datasets and models (id to files, at REVISION only); yields the address and the requests so far.

    `refused`: gated models, with the status (401, 403) that they are refused with.
    """
    places = [(f"/api/datasets/{name}", f"/datasets/{name}", files) for name, files in datasets.items()]
    places += [(f"/api/models/{name}", f"/{name}", files) for name, files in (models or {}).items()]

    class Hub(Answers):
        asked: ClassVar[list[str]] = []

        def reply(self, path: str, query: Mapping[str, str]) -> None:
            for name, code in (refused or {}).items():
                if path.startswith((f"/api/models/{name}/", f"/{name}/")):
                    return self.say(code, {"error": f"Access to {name} is restricted"}, {"X-Error-Code": "GatedRepo"})
            for api, page, files in places:
                resolve = f"{page}/resolve/{REVISION}/"
                if path == f"{api}/revision/{REVISION}":
                    siblings = [{"rfilename": file} for file in files]
                    return self.say(200, {"id": page.strip("/"), "sha": REVISION, "siblings": siblings})
                if path.startswith(f"{api}/tree/{REVISION}"):
                    folder = path.removeprefix(f"{api}/tree/{REVISION}").strip("/")
                    return self.say(200, listing(files, f"{folder}/" if folder else ""))
                if path.startswith(resolve) and path.removeprefix(resolve) in files:
                    content = files[path.removeprefix(resolve)]
                    return self.send(200, content, {"ETag": f'"{digest(content)}"', "X-Repo-Commit": REVISION})
                if path.startswith(resolve):
                    return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                if api.startswith("/api/models/") and path.startswith((f"{api}/revision/", f"{page}/resolve/")):
                    return self.say(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    with _listening(Hub) as address:
        yield address, Hub.asked


@contextmanager
def serving_modelscope(models: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Serve models as ModelScope does, at REVISION only: the list of a repository's files, and each file."""

    class Scope(Answers):
        asked: ClassVar[list[str]] = []

        def reply(self, path: str, query: Mapping[str, str]) -> None:
            name, _, page = path.removeprefix("/api/v1/models/").partition("/repo")
            files = models.get(name, {}) if query.get("Revision") == REVISION else {}
            if not files or (page == "" and query.get("FilePath") not in files):
                return self.say(404, {"Code": 10010205001, "Success": False, "Message": "the resource does not exist"})
            if page == "":
                return self.send(200, files[query["FilePath"]], {"Content-Type": "application/octet-stream"})
            entries = [
                {"Path": name, "Name": name, "Type": "blob", "Size": len(c), "Sha256": hashlib.sha256(c).hexdigest()}
                for name, c in files.items()
            ]
            self.say(200, {"Code": 200, "Success": True, "Data": {"Files": entries}})

    with _listening(Scope) as address:
        yield address, Scope.asked


@contextmanager
def _listening(handler: type[Answers]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def listing(files: Mapping[str, bytes], folder: str) -> list[dict[str, Any]]:
    """Every file below `folder`, and the folders between: the recursive answer, which does for the flat question too."""
    found = {name: content for name, content in files.items() if name.startswith(folder)}
    folders = {str(up) for name in found for up in PurePosixPath(name).parents if str(up).startswith(folder)} - {"."}
    return [
        *({"type": "directory", "path": name, "oid": digest(name.encode())} for name in sorted(folders)),
        *({"type": "file", "path": n, "size": len(c), "oid": digest(c)} for n, c in found.items()),
    ]
