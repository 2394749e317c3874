"""Fetching a model's files at a pinned revision: from the Hugging Face hub, or from ModelScope.

folder = from_hub("Qwen/Qwen2.5-0.5B", "060db6499f32faf8b98477b0a26969ef7d8b9987", ["*.json", "*.safetensors"])

HF_ENDPOINT, HF_TOKEN and HF_HOME hold for the hub, MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN for ModelScope. Either
keeps what it fetched, so that a run after a kill goes on with the rest; nothing that is fetched is run.
"""

from pathlib import Path

from doctune.errors import DoctuneError, one_line

MODELSCOPE_CACHE = Path(".doctune/modelscope")  # its own cache may hold a copy of any revision, left by an old version
TO_BE_CHOSEN = "0" * 40  # what git calls no commit: a preset's revision that its user must choose


def from_hub(hub_id: str, revision: str, patterns: list[str]) -> Path:
    """The folder of a snapshot in the Hugging Face cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    _check_chosen(hub_id, revision)
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, RuntimeError, ValueError) as error:
        raise DoctuneError(
            f"could not fetch {hub_id} at {revision} from the hub: {_reason(error)}; check base.hub_id and base.revision, the network, HF_ENDPOINT and HF_TOKEN"
        ) from error


def from_modelscope(hub_id: str, revision: str, patterns: list[str]) -> Path:
    """The folder of a snapshot below `MODELSCOPE_CACHE`."""
    _check_chosen(hub_id, revision)
    try:
        from modelscope.hub.snapshot_download import snapshot_download
        from modelscope_hub.errors import HubError
    except ImportError:
        raise DoctuneError(
            "base.source is modelscope, but the optional package modelscope is not installed; pip install 'doctune[modelscope]', or modelscope alone"
        ) from None
    try:
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=patterns, cache_dir=str(MODELSCOPE_CACHE))
        )
    except (HubError, OSError, ValueError) as error:
        raise DoctuneError(
            f"could not fetch {hub_id} at {revision} from ModelScope: {_reason(error)}; check base.hub_id and base.revision, the network, MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN"
        ) from error


def _check_chosen(hub_id: str, revision: str) -> None:
    if revision == TO_BE_CHOSEN:
        raise DoctuneError(
            f"this preset leaves the revision of {hub_id} to you, as nobody here has read it; look at its history there and give the commit that you trust (--set base.revision=COMMIT)"
        )


def _reason(error: Exception) -> str:
    """The error's own words on one line; where it only wraps another, that one's."""
    cause = error.__cause__ if not str(error).strip() and error.__cause__ is not None else error
    return one_line(cause, 200)
