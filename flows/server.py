"""Where Prefect keeps its runs, and the server that a flow talks to.

    connect()                               # the user's server, this project's running one, or a temporary one
    from flows.pipeline import pipeline
    pipeline(preset=None, overrides=[], refresh=False)

    with running_server() as url:           # this project's server with its UI, for `doctune ui` and `doctune schedule`
        print(url)

Prefect's home is `.doctune/prefect` in the project (PREFECT_HOME), so that a run writes nothing into the user's home
and the UI shows this project's runs; who has a Prefect home already (`~/.prefect/profiles.toml`) or sets PREFECT_HOME
keeps it, and with it their own server. Prefect's own temporary server would survive `kill -9` of the flow, so a keeper
runs ours.
Nothing here imports Prefect: it reads its settings from the environment when it is first imported.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import write_json
from flows.child import end, start

STATE = Path(".doctune")
DEFAULT_PORT = 4200
STARTUP_SECONDS = 120


def prepare_environment(root: Path) -> None:
    """Set what Prefect reads when it is imported, where the user has not."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", str(STARTUP_SECONDS))
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect" / "profiles.toml").exists():
        os.environ["PREFECT_HOME"] = str(root.resolve() / STATE / "prefect")
    for name in ("NO_PROXY", "no_proxy"):  # a proxy cannot reach a server on this machine
        if any(
            os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme}_PROXY".upper())
            for scheme in ("http", "https", "all")
        ):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def configured_url() -> str | None:
    """The API address that the user chose: PREFECT_API_URL, or the active profile of their Prefect home."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    profiles = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
    try:
        settings = tomllib.loads(profiles.read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or settings["active"]
        url = settings["profiles"][active].get("PREFECT_API_URL")
        return str(url) if url else None
    except (OSError, KeyError, TypeError, AttributeError, tomllib.TOMLDecodeError):
        return None


def own_server(root: Path) -> str | None:
    """The API address of this project's running server, as `running_server` noted it.

    None when it does not answer, or who noted it lives no more: another project's may answer at its address by now.
    """
    try:
        note = json.loads((root / STATE / "prefect-server.json").read_text(encoding="utf-8"))
        url, pid = str(note["url"]), int(note["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if healthy(url) else None


def healthy(url: str, says: bytes = b"true") -> bool:
    """Whether a server answers at `url` as a healthy one `says` that it is: Prefect's API unless told otherwise."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(urllib.error.URLError, OSError, ValueError), opener.open(f"{url}/health", timeout=2) as answer:
        return bool(answer.status == 200 and answer.read(64).strip() == says)
    return False


def wait_until_healthy(
    name: str, process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float, says: bytes = b"true"
) -> None:
    """Return once the server that `process` runs answers; DoctuneError with its log's last line if it does not."""
    deadline = time.monotonic() + seconds
    while not healthy(url, says):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
            last = next((line for line in reversed(lines) if line), "it said nothing")
            what = "ended" if process.poll() is not None else "did not answer in time"
            raise DoctuneError(f"the {name} server at {url} {what}: {last[:300]} (whole log: {log})")
        time.sleep(0.1)


def connect(root: Path | None = None, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Find the API address to use and set PREFECT_API_URL to it: the user's, this project's server, or a temporary one.

    Call before importing Prefect; while a temporary server starts, `meanwhile` runs (Prefect's import, say). It
    ends with this process, however that ends: Prefect sends its last lines and states when the process exits. Raises
    DoctuneError when the user's server does not answer, or none can be started.
    """
    root = root or Path.cwd()
    prepare_environment(root)
    if url := configured_url():
        os.environ["PREFECT_API_URL"] = _answering(url)
    elif url := own_server(root):
        os.environ["PREFECT_API_URL"] = url
    else:
        stack = ExitStack()
        url = os.environ["PREFECT_API_URL"] = stack.enter_context(_server(root, free_port(), False, meanwhile))
        atexit.register(stack.close)
    return url


@contextmanager
def running_server(root: Path | None = None, port: int | None = None) -> Iterator[str]:
    """Yield the API address of this project's server, started with its UI if it does not run; ends what it started."""
    root = root or Path.cwd()
    prepare_environment(root)
    if url := configured_url():
        yield _answering(url)
        return
    if url := own_server(root):
        yield url
        return
    note = root / STATE / "prefect-server.json"
    with _server(root, free_port(port or DEFAULT_PORT), ui=True) as url:
        write_json(note, {"url": url, "pid": os.getpid()})
        try:
            yield url
        finally:
            note.unlink(missing_ok=True)


@contextmanager
def _server(root: Path, port: int, ui: bool, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}/api"
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    home.mkdir(parents=True, exist_ok=True)
    address = ["--host", "127.0.0.1", "--port", str(port), "--log-level"]
    environ = {**os.environ, "PREFECT_API_URL": url}
    if ui:
        log = home / "server.log"
        command = ["prefect", "server", "start", *address, "WARNING"]
    else:  # as Prefect itself starts its temporary servers
        log = home / "temporary-server.log"
        command = ["uvicorn", "--factory", "prefect.server.api.server:create_app", *address, "error"]
        environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    with log.open("wb") as out:
        process = start([sys.executable, "-m", *command], cwd=root, env=environ, out=out, grace=5)
    try:
        os.environ["PREFECT_API_URL"] = url  # before Prefect is imported
        meanwhile()
        wait_until_healthy(
            "Prefect", process, url, log, float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"])
        )
        yield url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        end(process)


def _answering(url: str) -> str:
    """`url`, once something answered there."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10):
            return url
    except urllib.error.HTTPError:
        return url  # a server that wants an API key first
    except (OSError, ValueError) as error:
        raise DoctuneError(
            f"no Prefect server answers at {url} ({error}); start it, or change PREFECT_API_URL or your Prefect profile"
        ) from None


def free_port(wanted: int = 0) -> int:
    """`wanted` when nobody listens there, else one that the system gives."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])
