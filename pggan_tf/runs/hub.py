"""Load networks from a model hub, Hugging Face, and upload exported folders to it.

A network on the hub is named by its location, `hf://USER/NAME` or `hf://USER/NAME@REVISION`. What
others have uploaded is not trusted: only the files in `LIMITS` are downloaded, and none of them can
contain code that is run. The package huggingface_hub and the hub itself are only needed when a
location is opened. The hub's address is huggingface.co, or that in HF_ENDPOINT.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from pggan_tf.errors import TryAgain, UserError
from pggan_tf.runs import keras_files

PREFIX = "hf://"
# The files that are downloaded, and the maximum size of each in bytes.
LIMITS = {keras_files.GENERATOR: 4 << 30, keras_files.REPORT: 16 << 20, keras_files.RUN: 16 << 20}
# Files of earlier uploads that are removed if a new one does not replace them.
_REPLACED = re.compile(r"(generator[\w-]*\.(keras|tflite|onnx)|samples\.png|(report|run)\.json)")
_NAME = r"[A-Za-z0-9](?:[\w-]|\.(?!\.)){0,95}"
_LOCATION = re.compile(rf"(?:hf:/{{1,2}})?({_NAME}/{_NAME})(?:@([A-Za-z0-9](?:[\w/-]|\.(?!\.)){{0,200}}))?", re.ASCII)
_SETTINGS = "https://huggingface.co/settings/tokens"


def is_location(place: str | Path) -> bool:
    """Tell whether a place is a location on the hub and not a path of this machine."""
    return str(place).startswith("hf:/")  # a Path has one of its two slashes


def parse(place: str | Path) -> tuple[str, str | None]:
    """Return the repository USER/NAME and the revision, or None, of a location.

    Args:
        place: the location; `hf://` at its beginning may be left out.

    Raises:
        UserError: if it is no location.
    """
    if not (found := _LOCATION.fullmatch(str(place))):
        raise UserError(f"{place}: expected {PREFIX}USER/NAME, or {PREFIX}USER/NAME@REVISION with a tag or a commit.")
    return found[1], found[2]


def check_installed() -> None:
    """Raise UserError if huggingface_hub is not installed."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UserError('huggingface_hub not installed. Type: pip install "pggan-tf[hub]"')


def _is_unreachable(error: BaseException | None) -> bool:
    """Tell whether an error means that the hub cannot be reached, or is overloaded, for now."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx2.TransportError | ConnectionError)


@contextlib.contextmanager
def _explain(place: str):
    """Context manager that raises UserError, or TryAgain, for the errors of huggingface_hub.

    place: the location or the repository, with which a message begins.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.LocalTokenNotFoundError:
        raise UserError(
            f"{place}: you are not logged in. Type: hf auth login, or set HF_TOKEN to a token of {_SETTINGS}"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{place}: there is no such revision. Leave it out, or give a branch, a tag or a commit."
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{place}: its owner gives access on request. Ask for it on its page, then: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{place}: there is no such repository, or it is private. Check the name; if it is private: hf auth login"
        ) from None
    except Exception as error:
        if _is_unreachable(error):
            raise TryAgain(f"{place}: the hub cannot be reached ({_shorten(error)}). Try again later.") from None
        code = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
        if code == 401:
            raise UserError(
                f"{place}: the token is not valid. Type: hf auth login, or set HF_TOKEN to another of {_SETTINGS}"
            ) from None
        if code == 403:
            raise UserError(
                f"{place}: the token may not do this. Give a name of your own, and a token of {_SETTINGS} that may write."
            ) from None
        if code is None and not isinstance(error, ValueError | errors.FileMetadataError):
            raise
        raise UserError(f"{place}: the hub refuses this ({_shorten(error)}).") from None


def _shorten(error: BaseException) -> str:
    """Return the first line of an error's message that says anything, at most 150 characters."""
    said = getattr(error, "server_message", None) or str(error)
    return next((line.strip(" .") for line in said.splitlines() if line.strip(" .")), type(error).__name__)[:150]


def download(location: str | Path, say: Callable[[str], None] = print) -> Path:
    """Download the network of a location, unless it was before, and return the folder of its files.

    The folder is in the cache of huggingface_hub. If the hub cannot be reached, the files that were
    downloaded last are used.

    Args:
        location: the network's location on the hub.
        say: called with a line for the user if the hub cannot be reached.

    Raises:
        TryAgain: if the hub cannot be reached and the network was not downloaded before.
        UserError: if the location holds no network that can be downloaded.
    """
    check_installed()
    repository, revision = parse(location)
    place = f"{PREFIX}{repository}" + (f"@{revision}" if revision else "")
    with _explain(place):
        folder = _download(repository, revision, place, say)
    if not (folder / keras_files.GENERATOR).is_file():
        raise UserError(f"{place}: has no {keras_files.GENERATOR}. Expected a repository that pggan push has written.")
    return folder


def _download(repository: str, revision: str | None, place: str, say: Callable[[str], None]) -> Path:
    """Return the folder of the downloaded files; the errors are those of huggingface_hub, too.

    place: the location, for messages. For the others, see `download`.
    """
    from huggingface_hub import errors, snapshot_download

    wanted = {"repo_id": repository, "revision": revision, "allow_patterns": list(LIMITS)}
    try:
        files = snapshot_download(**wanted, dry_run=True)
    except errors.DryRunError as error:
        if not _is_unreachable(error.__cause__):
            raise error.__cause__ or error from None
        with contextlib.suppress(errors.LocalEntryNotFoundError):
            folder = Path(snapshot_download(**wanted, local_files_only=True))
            say(f"{place}: the hub cannot be reached; using the files that were downloaded last")
            return folder
        raise error.__cause__ from None
    for file in files:
        if file.file_size is None or file.file_size > LIMITS[file.filename]:
            size = "unknown size" if file.file_size is None else f"{file.file_size:,} bytes"
            raise UserError(f"{place}: its {file.filename} has {size}; at most {LIMITS[file.filename]:,} are allowed.")
    return Path(snapshot_download(**wanted))


def check_repository(repository: str, private: bool) -> None:
    """Raise UserError if a folder cannot be uploaded to a repository, as far as known beforehand.

    It may not hold files of another kind, and if it is to be private it may not be public. Also
    raise UserError if the user is not logged in, and TryAgain if the hub cannot be reached.

    Args:
        repository: USER/NAME.
        private: whether it is to be visible to its owner only.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi()
    with _explain(repository):
        api.whoami()
        try:
            info = api.model_info(repository)
        except errors.RepositoryNotFoundError:
            return
    files = sorted(
        file.rfilename for file in info.siblings or [] if file.rfilename not in (".gitattributes", "README.md")
    )
    if files and not {keras_files.GENERATOR, keras_files.REPORT} <= set(files):
        raise UserError(f"{repository}: holds files of another kind ({', '.join(files[:3])}). Choose a new name.")
    if private and not info.private:
        raise UserError(f"{repository}: is public already. Make it private in its settings, or choose a new name.")


def upload(folder: Path, repository: str, private: bool, message: str) -> str:
    """Upload an exported folder to a repository, which is created if it is new.

    All files arrive in one commit or not at all.

    Args:
        folder: the folder.
        repository: USER/NAME.
        private: whether a new repository is visible to its owner only.
        message: message of the commit.

    Returns:
        The address of the repository's page.

    Raises:
        TryAgain: if the hub cannot be reached.
        UserError: if the user may not write there, or the hub refuses a file.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    with _explain(repository):
        page = str(api.create_repo(repository, private=private, exist_ok=True))
        old = [n for n in api.list_repo_files(repository) if _REPLACED.fullmatch(n) and n not in files]
        changes = [CommitOperationAdd(name, path) for name, path in files.items()]
        changes += [CommitOperationDelete(name) for name in old]
        api.create_commit(repository, changes, commit_message=message)
    return page
