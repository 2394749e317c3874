"""Where MLflow is: a database in the project, or the server that MLFLOW_TRACKING_URI names.

    tracking_uri(Path.cwd())              # "sqlite:////home/me/doctune/mlruns/mlflow.db"
    store = connect()                     # that database is created or migrated when needed
    store.client.get_run(run_id)
    shown(store.uri)                      # for people: without the password that a server's address may hold

A database in a file has its artifacts beside it, in artifacts/.
"""

import functools
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from doctune.errors import DoctuneError, one_line
from doctune.locks import hold
from doctune.registry.database import absolute, database_file, follow_move, migrate

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "doctune"
LOCK_SECONDS = 600
_URI = "MLFLOW_TRACKING_URI"
_RETRIES, _TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
_PROBE = {_RETRIES: "1", _TIMEOUT: "5"}  # a server that is not there is told within 15 seconds
_PATIENT = {_RETRIES: "4", _TIMEOUT: "60"}  # one that was there may restart: MLflow's own 7 retries wait four minutes

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Store:
    """An MLflow that answered, with the experiment `doctune` in it."""

    client: "MlflowClient"
    uri: str
    experiment_id: str
    root: Path  # of the project
    guard: Path  # lock file of everything that must not happen twice: beside a database, else in the project

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this store's lock. Processes of one machine only: MLflow itself has no compare-and-swap."""
        with hold(self.guard, "to write to MLflow", wait=LOCK_SECONDS):
            yield

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this MLflow the process's default for a while: its SQL registry asks the default for models:/ URIs."""
        import mlflow

        before = os.environ.get(_URI)
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # documented only in its code; also drops the variable, which MLflow had set for children
            if before is not None:
                os.environ[_URI] = before


def tracking_uri(root: Path) -> str:
    """The address of the MLflow of the project at `root`: what the variable says, else the project's own database.

    A database's path is absolute in it, so that it means the same in any folder.
    """
    return absolute(os.environ.get(_URI, "").strip() or "sqlite:///mlruns/mlflow.db", root.resolve())


def connect(root: Path = Path()) -> Store:
    """Open the MLflow of the project at `root`; raises DoctuneError when it does not answer or cannot be used."""
    root = root.resolve()
    uri = tracking_uri(root)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing leaves the machine unasked
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    database = database_file(uri)
    if database is None:
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells of each retry
        with _environment(_PROBE):
            client, experiment_id = _open(uri, None)
        guard = root / ".doctune" / "mlflow.lock"
        for key, value in _PATIENT.items():
            os.environ.setdefault(key, value)
    else:
        artifacts = database.parent / "artifacts"
        guard = database.with_name(f"{database.name}.lock")
        # Two that create it at once die in its migration.
        with hold(database.with_name(f"{database.name}.open.lock"), f"to open {database}", wait=LOCK_SECONDS):
            if database == root / "mlruns" / "mlflow.db" and database.exists():  # ours, whoever named it
                follow_move(database, EXPERIMENT, artifacts)
                migrate(uri, database)
            client, experiment_id = _open(uri, artifacts)
    return Store(client, uri, experiment_id, root, guard)


def shown(text: str) -> str:
    """An address, or a text with addresses in it, without users and passwords."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Turn MLflow's refusals, and a disk or network that fails below it, into one line for the user."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return function(*args, **kwargs)
        except (MlflowException, SQLAlchemyError, RequestException) as error:
            raise DoctuneError(
                f"MLflow failed in {function.__name__}: {_said(error)}; check MLFLOW_TRACKING_URI and its server"
            ) from error
        except OSError as error:
            raise DoctuneError(
                f"could not store in MLflow: {_said(error)}; free some space or fix its permissions"
            ) from error

    return wrapper


def _said(error: BaseException) -> str:
    """The error's own words on one line; MLflow's name the server's whole address."""
    return one_line(shown(str(error)).strip() or type(error).__name__)


def _open(uri: str, artifacts: Path | None) -> tuple["MlflowClient", str]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # migrations, monitors and validation talk to developers
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                client.create_experiment(EXPERIMENT, artifact_location=str(artifacts) if artifacts else None)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another machine was first
                    raise
            experiment = client.get_experiment_by_name(EXPERIMENT)
            assert experiment is not None
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        return client, experiment.experiment_id
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        where = shown(uri)
        if urlsplit(uri).scheme in ("http", "https"):
            advice = f"start its server, or change or unset {_URI}"
        else:
            advice = f"check the file, or change {_URI}"
        raise DoctuneError(f"MLflow at {where} does not answer: {_reason(error)}; {advice}") from None


def _reason(error: Exception) -> str:
    text = str(error)
    for sign, meaning in (
        ("Connection refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("Name or service not known", "no such host"),
        ("Failed to resolve", "no such host"),
    ):
        if sign in text:
            return meaning
    return _said(error)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables that are unset, and unset them again."""
    ours = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)
