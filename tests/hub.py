"""A small hub on loopback: it speaks as much of the Hugging Face Hub's HTTP API as reading a dataset takes.

with serving({"me/pairs": {"train.jsonl": b"..."}}) as (address, asked):
    ...                       # HF_ENDPOINT=address in a process of its own: the libraries read it when imported
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(datasets: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Serve datasets (id to files, at REVISION only); yields the address and the requests so far."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlparse(self.path).path
            asked.append(f"{self.command} {path}")
            for name, files in datasets.items():
                api, resolve = f"/api/datasets/{name}", f"/datasets/{name}/resolve/{REVISION}/"
                if path == f"{api}/revision/{REVISION}":
                    self.say(200, {"id": name, "sha": REVISION, "siblings": [{"rfilename": file} for file in files]})
                elif path.startswith(f"{api}/tree/{REVISION}"):
                    folder = path.removeprefix(f"{api}/tree/{REVISION}").strip("/")
                    self.say(200, listing(files, f"{folder}/" if folder else ""))
                elif path.startswith(resolve) and path.removeprefix(resolve) in files:
                    content = files[path.removeprefix(resolve)]
                    self.send(200, content, {"ETag": f'"{digest(content)}"', "X-Repo-Commit": REVISION})
                elif path.startswith(resolve):
                    self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                else:
                    continue
                return
            self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

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

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


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
