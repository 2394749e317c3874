"""source.lock.yaml: which commit each named source stands at, so that a crawl of a moving branch can be repeated.

    kubernetes:                      # crawl.name
      url: https://github.com/kubernetes/website
      ref: main
      commit: 5c31237a7b4d1ea3d63bb7ede22543067d59c38f
      since: v1.33                   # crawl.since, where one is asked for
      since_commit: 2e1f4a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f
    kubernetes-web:
      web: https://kubernetes.io
      revision: 0f2c...              # a hash of all its pages: a web site has no commits
    example:
      tree: examples/site            # DVC itself hashes a local folder: nothing to lock

`locked` reads an entry (the crawl); `update` moves it to where its ref stands now, or crawls the web site to see
(`doctune source update`, schedules).
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from doctune.errors import DoctuneError
from doctune.files import whole_file
from doctune.locks import hold
from doctune.retry import patiently
from doctune.section import COMMIT, Section, read_yaml, validate
from doctune.sources.params import CrawlParams, address
from doctune.sources.run_git import remote

LS_REMOTE_SECONDS = 120
LOCK_SECONDS = 60
_ADVICE = "run `doctune source update`"


class GitEntry(Section):
    url: str
    ref: str
    commit: Annotated[str, Field(pattern=rf"^{COMMIT.pattern}$")]
    since: str = ""
    since_commit: Annotated[str, Field(pattern=rf"^({COMMIT.pattern})?$")] = ""

    @model_validator(mode="after")
    def _both(self) -> "GitEntry":
        if bool(self.since) != bool(self.since_commit):
            raise ValueError("since, since_commit: wanted both or neither")
        return self


class TreeEntry(Section):
    tree: str


class WebEntry(Section):
    web: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Entry = GitEntry | TreeEntry | WebEntry
_KINDS: dict[str, type[Entry]] = {"tree": TreeEntry, "git": GitEntry, "web": WebEntry}


def locked(params: CrawlParams, path: Path) -> Entry:
    """The entry of `params.name`; raises DoctuneError when it is missing, malformed, or belongs to another source."""
    entries = _entries(path)
    if params.name not in entries:
        raise DoctuneError(f"{path} has no entry {params.name!r} (crawl.name); {_ADVICE}")
    raw = entries[params.name]
    wanted = {
        "tree": {"tree": params.tree},
        "git": {"url": params.url, "ref": params.ref, "since": params.since},
        "web": {"web": params.url},
    }[params.source]
    if not isinstance(raw, dict) or {key: raw.get(key, "") for key in wanted} != wanted:
        raise DoctuneError(_differs(path, params.name, wanted, raw))
    return validate(_KINDS[params.source], raw, f"{path}, {params.name}:")


def update(params: CrawlParams, path: Path) -> tuple[Entry | None, Entry]:
    """Look where the source stands now and write the entry of `params.name`, leaving every other; returns (old, new).

    Old is None when there was no valid entry. The file is untouched when nothing changed. Two processes that update
    different names at once both succeed. Raises DoctuneError when the repository, the ref or the web site does not exist
    or cannot be read.
    """
    from ruamel.yaml import YAML

    new: Entry
    if params.source == "tree":
        new = TreeEntry(tree=params.tree)
    elif params.source == "web":
        from doctune.sources.web import crawl_site

        new = WebEntry(web=params.url, revision=crawl_site(params))
    else:
        new = GitEntry(
            url=params.url,
            ref=params.ref,
            commit=resolve(params.url, params.ref),
            since=params.since,
            since_commit=resolve(params.url, params.since, "crawl.since") if params.since else "",
        )
    guard = path.resolve().parent / ".doctune" / f"{path.name}.lock"
    with hold(guard, f"to update {path}", wait=LOCK_SECONDS):
        before = _entries(path) if path.exists() else {}
        old = _parse(before.get(params.name))
        if old != new:
            yaml = YAML()  # round trip: keeps comments and order of the other entries
            document: Any = yaml.load(path.read_text(encoding="utf-8")) if before else None
            document = {} if document is None else document
            document[params.name] = new.model_dump(exclude_defaults=True)
            with whole_file(path) as tmp, tmp.open("w", encoding="utf-8") as file:
                yaml.dump(document, file)
    return old, new


def resolve(url: str, ref: str, knob: str = "crawl.ref") -> str:
    """The commit at which a branch or tag of `url` stands; a full 40-character commit is taken as it is.

    `knob` is named in messages. A branch is preferred to a tag of the same name, and an annotated tag gives the commit that it points at.
    """
    if COMMIT.fullmatch(ref):
        return ref
    where = address(url)
    if where.startswith("/") and not Path(where).is_dir():
        raise DoctuneError(
            f"wanted a git repository at {url}, which does not exist (seen from {Path.cwd()}); check crawl.url"
        )
    anywhere = ref == "HEAD" or ref.startswith("refs/")
    limits = [] if anywhere else ["--heads", "--tags"]  # a busy forge has tens of thousands of other refs
    command = ["ls-remote", "--quiet", *limits, "--", where, ref, f"{ref}^{{}}"]
    out, _ = patiently(lambda: remote(command, where, LS_REMOTE_SECONDS), f"asking {url} where {ref} stands")
    lines = out.decode("utf-8", "replace").splitlines()
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    names = [ref] if anywhere else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    for name in names:
        commit = refs.get(f"{name}^{{}}") or refs.get(name)
        if commit is not None:
            if not COMMIT.fullmatch(commit):
                raise DoctuneError(f"wanted a commit of 40 characters (SHA-1), got {commit!r} for {ref} of {url}")
            return commit
    raise DoctuneError(f"{url} has no branch or tag {ref!r}; check {knob} (a commit is given by all its 40 characters)")


def _entries(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DoctuneError(f"{path} does not exist; {_ADVICE}")
    entries = read_yaml(path)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        kind = type(entries).__name__
        raise DoctuneError(
            f"wanted a mapping of source names in {path}, got {kind}; restore it, or remove it and {_ADVICE}"
        )
    return entries


def _parse(raw: Any) -> Entry | None:
    if not isinstance(raw, dict):
        return None
    try:
        return validate(_KINDS["tree" if "tree" in raw else "web" if "web" in raw else "git"], raw, "")
    except DoctuneError:  # whatever it was, it is about to be replaced
        return None


def _differs(path: Path, name: str, wanted: dict[str, str], got: Any) -> str:
    shown = {key: got.get(key, "") for key in wanted} if isinstance(got, dict) and wanted.keys() & got.keys() else got
    return f"{path} has another source as {name!r}: wanted {wanted}, got {shown}; {_ADVICE}, or change crawl.name"
