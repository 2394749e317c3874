"""Run git as a careful stranger would: no prompts, no hooks, no code of the repository, time limits, one-line errors.

    out, err = remote(["ls-remote", "--", url], url, timeout=60)  # may use the network; Transient when it may pass
    out = local(memo, ["ls-tree", "-r", "-z", tree])              # may not; Broken when the memo is damaged

The configuration of the machine and of its user is obeyed: there live proxies, certificate authorities, credential
helpers and `safe.directory`, and whoever can write them can run code anyway. What they could change about the *result*
or what would run a repository's code is pinned below, on the command line, where it wins. Variables that point git at
another repository (set inside hooks and `git rebase --exec`) are dropped.
"""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.machine import ends_with_us
from doctune.retry import Transient

_PINNED = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "protocol.version": "2",  # any commit may be asked for by its id, whatever the server's configuration
    "http.lowSpeedLimit": "1000",  # bytes/s; slower than that for lowSpeedTime seconds is a stall
    "http.lowSpeedTime": "60",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.bundleURI": "false",
    "submodule.recurse": "false",
}
_PROTOCOLS = "file:git:http:https:ssh"  # no ext::, no other helper program
_DROPPED = re.compile(
    r"GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|INDEX_FILE|COMMON_DIR|NAMESPACE|PREFIX|CONFIG|OBJECT_DIRECTORY|SHALLOW_FILE|"
    r"ALTERNATE_OBJECT_DIRECTORIES|GRAFT_FILE|REPLACE_REF_BASE|TEMPLATE_DIR)|LANGUAGE"
)

# In this order; the first that matches git's stderr speaks. LC_ALL=C keeps these texts in English.
_NO_REPOSITORY = (
    r"does not appear to be a git repository|[Rr]epository .*(not found|does not exist)|returned error: 404"
)
_NO_ACCESS = (
    r"could not read (Username|Password)|terminal prompts|Authentication failed|Permission denied|"
    r"returned error: 40[13]|Host key verification"
)
_NO_COMMIT = r"not our ref|unadvertised object|couldn't find remote ref|no such remote ref"
_NO_SPACE = r"No space left on device|Disk quota exceeded"
_NOT_OURS = r"dubious ownership"
_NOT_ALLOWED = r"transport '.*' not allowed"
_MEMO = r"\.lock'|bad config|bad object|corrupt|packfile|not a git repository|loose object|unable to (read|parse)"
_MAY_PASS = (
    r"[Cc]ould not resolve|[Cc]ouldn't connect|[Ff]ailed to connect|Connection (reset|refused|closed)|timed out|"
    r"[Tt]imeout|unreachable|No route to host|early EOF|RPC failed|unexpected disconnect|hung up|SSL|gnutls|TLS|"
    r"curl \d+|returned error: (5\d\d|429)|Temporary failure|Empty reply|HTTP/2 stream|kex_exchange|Operation too slow"
)


class Broken(DoctuneError):
    """The local memo cannot be used (damaged, or left half made); made anew, the same work may succeed."""


def remote(args: list[str], url: str, timeout: float, stdin: bytes = b"") -> tuple[bytes, str]:
    """Run a git command that talks to `url`; returns stdout and stderr.

    Raises Transient for what may pass, Broken when this side is at fault or nobody knows, DoctuneError otherwise.
    """
    try:
        code, out, err = _run(args, stdin, timeout, protocols=_PROTOCOLS)
    except subprocess.TimeoutExpired:
        raise Transient(f"{url} gave no answer within {timeout:.0f} s; check crawl.url and the network") from None
    if code:
        raise _explain(err, url)
    return out, err


def local(memo: Path, args: list[str], stdin: bytes = b"", timeout: float = 300) -> bytes:
    """Run a git command on the memo alone; no object is fetched behind our back. Raises Broken when it fails."""
    try:
        code, out, err = _run([f"--git-dir={memo}", *args], stdin, timeout, protocols="none")
    except subprocess.TimeoutExpired:
        raise Broken(f"git {args[0]} on {memo} took over {timeout:.0f} s; remove that folder and try again") from None
    if code:
        if re.search(_NO_SPACE, err):
            raise _explain(err, str(memo))
        raise Broken(f"git {args[0]} on {memo} failed: {last_line(err)}; remove that folder and try again")
    return out


def _explain(err: str, url: str) -> DoctuneError:
    if re.search(_NO_REPOSITORY, err):
        return DoctuneError(f"wanted a git repository at {url}, got none; check crawl.url")
    if re.search(_NOT_OURS, err):
        advice = f"run git config --global --add safe.directory {url}"
        return DoctuneError(f"git distrusts {url}, which someone else owns; {advice}")
    if re.search(_NO_ACCESS, err):
        return DoctuneError(
            f"{url} does not exist or wants credentials: {last_line(err)}; check crawl.url, or give git access "
            "(credential helper, ssh agent)"
        )
    if re.search(_NO_COMMIT, err):
        return DoctuneError(f"{url} has no such commit (any more): {last_line(err)}; run `doctune source update`")
    if re.search(_NO_SPACE, err):
        return DoctuneError(f"no space left while reading {url}; free some disk space and try again")
    if re.search(_NOT_ALLOWED, err):
        return DoctuneError(f"wanted a protocol among {_PROTOCOLS.replace(':', ', ')} for {url}, got: {last_line(err)}")
    if re.search(_MEMO, err):
        return Broken(f"the local copy of {url} is damaged: {last_line(err)}; remove .doctune/git and try again")
    if re.search(_MAY_PASS, err):
        return Transient(f"no connection to {url}: {last_line(err)}; check crawl.url and the network")
    return Broken(f"git could not read {url}: {last_line(err)}; check crawl.url and crawl.ref")


def last_line(err: str) -> str:
    """The line of git's stderr that says most: the first `fatal:` or `error:`, else the last one."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error:"))]
    line = (telling or lines[-1:] or ["it said nothing"])[0]
    return re.sub(r"^(fatal|error): ", "", "".join(c if c.isprintable() else " " for c in line))


def _run(args: list[str], stdin: bytes, timeout: float, protocols: str) -> tuple[int, bytes, str]:
    """Run git in a session of its own (so no helper finds a terminal to ask on, and all of it can be ended at once)."""
    environment = {name: value for name, value in os.environ.items() if not _DROPPED.fullmatch(name)}
    environment |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols,  # wins over every protocol.*.allow
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    if protocols == "none":
        environment["GIT_NO_LAZY_FETCH"] = "1"
    pinned = [part for key, value in _PINNED.items() for part in ("-c", f"{key}={value}")]
    try:
        process = subprocess.Popen(
            ["git", *pinned, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",  # out of the project, whose own .git/config is none of this business
            start_new_session=True,
            preexec_fn=ends_with_us(),  # else it would write on to a memo that nobody holds
        )
    except FileNotFoundError:
        raise DoctuneError("git is not installed or not on PATH; install git 2.36 or newer") from None
    try:
        out, err = process.communicate(stdin, timeout)
    except BaseException:  # time is up, or we were interrupted: end git and its helpers, whatever the reason
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, out, err.decode("utf-8", "replace")
