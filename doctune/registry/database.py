"""A project's own MLflow database: where it is, moved folders, old schemas.

    database_file("sqlite:////home/me/doctune/mlruns/mlflow.db")      # Path("/home/me/doctune/mlruns/mlflow.db")

MLflow writes absolute paths into its database. They are rewritten when the project's folder was moved or copied, so
that a copy neither loses its models nor writes into the original.
"""

import logging
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError


def absolute(uri: str, folder: Path) -> str:
    """The address of an SQLite store with its path as seen from `folder`; any other address as it is."""
    scheme, slashes, path = uri.partition(":///")
    return f"{scheme}{slashes}{folder / path}" if scheme == "sqlite" and path not in ("", ":memory:") else uri


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store (its folder is made), None for any other store."""
    if not uri.startswith("sqlite:"):
        return None
    name = uri.partition(":///")[2].partition("?")[0]
    if not name or name == ":memory:":
        raise DoctuneError(
            f"wanted a database file in MLFLOW_TRACKING_URI, got {uri}; for example sqlite:///mlruns/mlflow.db"
        )
    path = Path(name).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DoctuneError(
            f"MLflow's folder {path.parent} cannot be made: {error.strerror}; fix it, or change MLFLOW_TRACKING_URI"
        ) from None
    return path


def follow_move(database: Path, experiment: str, artifacts: Path) -> None:
    """Rewrite the absolute paths in a project's own database when its folder is no longer where they say."""
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            found = connection.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
            ).fetchone()
            if found is None or found[0] == str(artifacts):
                return
            old, new = str(Path(found[0]).parent), str(artifacts.parent)
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
                ("model_versions", "source"),
                ("model_versions", "storage_location"),
            ):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):  # a database cut short while it was made: MLflow completes it
            raise DoctuneError(
                f"MLflow's database {database} cannot be opened: {error}; fix it, or change MLFLOW_TRACKING_URI"
            ) from None
    except sqlite3.DatabaseError as error:
        raise DoctuneError(
            f"MLflow's database {database} is damaged: {error}; move it away, and the next run rebuilds it"
        ) from None


def migrate(uri: str, database: Path) -> None:
    """Bring a project's own database to this MLflow's schema; the old one is kept as mlflow.db.before."""
    import shutil

    import mlflow.store.db.utils as schema  # `mlflow db upgrade` is the same functions in a process of its own
    from alembic.script import ScriptDirectory

    utils: Any = schema
    engine = utils.create_sqlalchemy_engine(uri)
    try:
        scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
        if (now := utils._get_schema_version(engine)) in (None, scripts.get_current_head()):
            return
        if now not in {script.revision for script in scripts.walk_revisions()}:
            raise DoctuneError(
                f"{database} was written by a newer MLflow (schema {now}); install that version, or move the file away"
            )
        shutil.copyfile(database, database.with_name(f"{database.name}.before"))
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        utils._upgrade_db(engine)
    finally:
        engine.dispose()
