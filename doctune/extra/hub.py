"""A dataset of the Hugging Face hub at a pinned commit, row by row.

for row in hub_rows(HubSource(name="news", hub_id="someone/news", revision="3f2a...", ...)): ...

Only data files are read (Parquet, JSON, CSV, ...): `datasets` has no way left to run a dataset's own script. Files are
kept in its cache, so that a second run, or one after a kill, downloads nothing twice. HF_ENDPOINT and HF_TOKEN hold.
"""

from collections.abc import Iterator
from typing import Any

from doctune.errors import DoctuneError, one_line
from doctune.extra.params import HubSource


def hub_rows(source: HubSource) -> Iterator[dict[str, Any]]:
    """Download (or find in the cache) and yield every row."""
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()  # it warns of a fallback that is an error here
    try:
        builder = datasets.load_dataset_builder(
            f"hf://datasets/{source.hub_id}",  # without the scheme a folder of that name here would win
            source.config or None,
            revision=source.revision,
        )
        _refuse_another_version(builder, source)
        builder.download_and_prepare()
        found = builder.as_dataset(split=source.split)
    except (datasets.exceptions.DatasetsError, HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        why = one_line(f"{error} ({error.__cause__})" if error.__cause__ else error)
        raise DoctuneError(
            f"extra source {source.name}: could not load {source.hub_id} at {source.revision[:12]} from the hub: "
            f"{why}; check hub_id, revision, config, split, the network, HF_ENDPOINT and HF_TOKEN"
        ) from error
    yield from found


def _refuse_another_version(builder: Any, source: HubSource) -> None:
    """Where the hub fails, `datasets` takes whatever version, and without a config whatever config, its cache had last."""
    from datasets.packaged_modules.cache.cache import Cache

    if builder.hash != source.revision or (isinstance(builder, Cache) and not source.config):
        raise ValueError(f"the hub did not give it, and the cache has {builder.config.name} at {builder.hash}")
