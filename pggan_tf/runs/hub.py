"""Load networks from a model hub, Hugging Face, and upload exported folders to it.

A network on the hub is named by its location, `hf://USER/NAME` or `hf://USER/NAME@REVISION`. What
others have uploaded is not trusted: only the files in `LIMITS` are downloaded, and none of them can
contain code that is run. The package huggingface_hub and the hub itself are only needed when a
location is opened. The hub's address is huggingface.co, or that in HF_ENDPOINT.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pggan_tf.errors import TryAgain, UserError
from pggan_tf.runs import keras_files

PREFIX = "hf://"
# The files that are downloaded, and the maximum size of each in bytes.
LIMITS = {keras_files.GENERATOR: 4 << 30, keras_files.REPORT: 16 << 20, keras_files.RUN: 16 << 20}
# Files of earlier uploads that are removed if a new one does not replace them.
_REPLACED = re.compile(r"(generator[\w-]*\.(keras|tflite|onnx)|samples\.png|(report|run)\.json)")
_NAME = r"[A-Za-z0-9](?:[\w-]|\.(?!\.)){0,95}"
_LOCATION = re.compile(rf"(?:hf:/{{1,2}})?({_NAME}/{_NAME})(?:@([A-Za-z0-9](?:[\w/-]|\.(?!\.)){{0,200}}))?", re.ASCII)
_LICENCES = "https://huggingface.co/docs/hub/repositories-licenses"
_TOKENS = "https://huggingface.co/settings/tokens"


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


def _is_unreachable(error: BaseException) -> bool:
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
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (explained := _translate(place, error)) is None:
            raise
        raise explained from None


def _translate(place: str, error: Exception) -> UserError | None:
    """Return the error to raise for one of huggingface_hub; None for an error of another kind.

    place: the location or the repository, with which the message begins.
    """
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return UserError(f"{place}: HF_ENDPOINT is no address ({_shorten(error)}). Mend it, or unset it.")
    transfer = isinstance(error, RuntimeError | errors.XetDownloadError)  # of one file, for any reason
    if transfer and isinstance(error.__cause__, errors.HfHubHTTPError):
        error, transfer = error.__cause__, False
    if transfer or _is_unreachable(error):
        return TryAgain(f"{place}: the hub cannot be reached ({_shorten(error)}). Try again later.")
    for kind, advice in (
        (errors.LocalTokenNotFoundError, f"you are not logged in. Type: hf auth login, or set HF_TOKEN to a token of {_TOKENS}"),
        (errors.RevisionNotFoundError, "there is no such revision. Leave it out, or give a branch, a tag or a commit."),
        (errors.GatedRepoError, "its owner gives access on request. Ask for it on its page, then: hf auth login"),
        (errors.RepositoryNotFoundError, "there is no such repository, or it is private. Check the name; if it is private: hf auth login"),
    ):  # fmt: skip
        if isinstance(error, kind):
            return UserError(f"{place}: {advice}")
    code = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if code == 401:
        return UserError(
            f"{place}: the token is not valid. Type: hf auth login, or set HF_TOKEN to another of {_TOKENS}"
        )
    if code == 403:
        return UserError(
            f"{place}: the token may not do this. Give a name of your own, and a token of {_TOKENS} that may write."
        )
    if code or isinstance(error, ValueError | errors.FileMetadataError):
        return UserError(f"{place}: the hub refuses this ({_shorten(error)}).")
    return None


@contextlib.contextmanager
def _hide_bars(always: bool = False):
    """Context manager that hides huggingface_hub's progress bars, unless they go to a terminal.

    always: whether to hide them on a terminal, too.
    """
    from huggingface_hub import utils

    before = utils.are_progress_bars_disabled()
    if always or not sys.stderr.isatty():
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            utils.enable_progress_bars()


def _shorten(error: BaseException) -> str:
    """Return an error's message in one line of at most 150 characters."""
    said = getattr(error, "server_message", None) or str(error)
    return " ".join(said.split()).strip(" .")[:150] or type(error).__name__


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
    _check_unpacked(folder / keras_files.GENERATOR, place)
    return folder


def _check_unpacked(file: Path, place: str) -> None:
    """Raise UserError if a .keras file, a zip archive, needs too much memory when it is unpacked.

    place: the location, for messages.
    """
    if not zipfile.is_zipfile(file):
        return  # keras_files.load says so
    with _explain(place), zipfile.ZipFile(file) as archive:
        size, limit = sum(member.file_size for member in archive.infolist()), LIMITS[keras_files.GENERATOR]
    if size > limit:
        raise UserError(f"{place}: its {file.name} unpacks to {size:,} bytes; at most {limit:,} are allowed.")


def _download(repository: str, revision: str | None, place: str, say: Callable[[str], None]) -> Path:
    """Return the folder of the downloaded files; the errors are those of huggingface_hub, too.

    place: the location, for messages. For the others, see `download`.
    """
    from huggingface_hub import errors, snapshot_download

    fetch: Callable[..., Any] = functools.partial(
        snapshot_download, repository, revision=revision, allow_patterns=list(LIMITS)
    )
    try:
        with _hide_bars(always=True):
            files = fetch(dry_run=True)
    except errors.DryRunError as error:
        reason = error.__cause__ or error
        if not _is_unreachable(reason):
            raise reason from None
        with contextlib.suppress(errors.LocalEntryNotFoundError):
            with _hide_bars(always=True):
                folder = Path(fetch(local_files_only=True))
            say(f"{place}: the hub cannot be reached; using the files that were downloaded last")
            return folder
        raise reason from None
    for file in files:
        if file.file_size is None or file.file_size > LIMITS[file.filename]:
            size = "unknown size" if file.file_size is None else f"{file.file_size:,} bytes"
            raise UserError(f"{place}: its {file.filename} has {size}; at most {LIMITS[file.filename]:,} are allowed.")
    with _hide_bars():
        return Path(fetch())


def check_repository(repository: str, private: bool) -> None:
    """Raise UserError if a folder cannot be uploaded to a repository, as far as known beforehand.

    It may not hold files of another kind, and if it is to be private it may not be public. Also
    raise UserError if the user is not logged in, and TryAgain if the hub cannot be reached.

    Args:
        repository: USER/NAME.
        private: whether it is to be visible to its owner only.
    """
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        raise UserError(f"{repository}: HF_HUB_OFFLINE is set, so that nothing is sent. Unset it.")
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


def check_licence(licence: str) -> None:
    """Raise UserError if the hub does not know a licence, and TryAgain if it cannot be reached."""
    from huggingface_hub import ModelCard

    with _explain(f"--licence {licence}"):
        try:
            ModelCard(f"---\nlicense: {json.dumps(licence)}\n---\n").validate()
        except ValueError:
            raise UserError(
                f"--licence {licence}: the hub does not know it. Give one of {_LICENCES}, or other."
            ) from None


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
    with _explain(repository), _hide_bars():
        page = str(api.create_repo(repository, private=private, exist_ok=True))
        old = [n for n in api.list_repo_files(repository) if _REPLACED.fullmatch(n) and n not in files]
        changes: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(name) for name in old]
        changes += [CommitOperationAdd(name, path) for name, path in files.items()]
        api.create_commit(repository, changes, commit_message=message)
    return page
