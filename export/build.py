"""Write an export: files of trained networks for phones, browsers and other tools.

Every file is compared with Keras before it is accepted. The source of an export is a trained
network with what is known about it (`export.source.Source`). The signatures that a file offers are
named functions in the file, with their inputs (`offered` in the code). report.json lists the
written files: each has an entry, a dict with the file's name, its size, its signatures and the
result of the comparison.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from export import projects
from export.files import Options, write_files, write_samples
from pggan_tf import terminal
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.files import atomic_write, hold_lock
from pggan_tf.runs import keras_files, pretrained, records

FORMATS = ("tflite", "keras", "savedmodel", "onnx", "coreml", "web")
HUB = "hub"  # keras, and tflite if its packages are installed, without pictures of the user's photos
APK = "apk"  # an Android app: one file, which holds the page
PROJECTS = projects.FORMATS  # folders of sources, for Android Studio and for Xcode
QUANTIZE = ("none", "float16", "dynamic", "int8")
_ATTEMPTS = 100  # at a folder that other exports remove when they end


@explain_out_of_memory(
    "the network is exported",
    "Give one --to at a time, --quantize dynamic in place of int8, or a machine with more memory.",
)
def build(
    runs: Sequence[str], formats: Sequence[str], out: str | Path | None, options: Options
) -> tuple[Path, list[dict]]:
    """Export one or several trained networks.

    Args:
        runs: folders of finished runs, exported folders, .keras files or hf://USER/NAME; several
            only for a web site or an app, of different tasks.
        formats: formats to write, from FORMATS and PROJECTS, or HUB; APK alone; empty for tflite.
        out: folder to write to, new or empty; None: see `_choose_folder`. Of APK it is a new file.
        options: the options.

    Returns:
        (the folder or file, the entries of its files in report.json).

    Raises:
        UserError: if the options do not go together, a package is missing, a network cannot be
            loaded, the folder cannot be written or a file differs too much from Keras.
    """
    if options.everything and (formats or options.quantize):
        raise UserError("--all and --to or --quantize: give one of them. --all is every format and every quantisation.")
    formats = FORMATS if options.everything else expand_formats(tuple(dict.fromkeys(formats)) or ("tflite",))
    _check_read(formats, options)
    if options.subject is not None and not re.fullmatch(r"[^\W\d_][\w -]{0,30}", options.subject):
        raise UserError(f"--subject {options.subject!r}: expected a noun of at most 31 letters, such as horse.")
    if len(runs) > 1 and formats not in (("web",), (APK,)):
        raise UserError(f"{len(runs)} runs: only --to web and --to apk take several. Export them one by one.")
    if set(formats) & set(PROJECTS):
        from export.apk import build as apps

        apps.check_options(options.name, options.app_id, None)
    if APK in formats:
        return _build_app(runs, formats, Path(out) if out else None, options)
    target = Path(out) if out else _choose_folder(runs[0])
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--out {target}: is not an empty folder. Choose a new one, or remove it.")
    terminal.start_tensorflow()
    _check_installed(formats)
    opened = _open_sources(runs, options)
    try:
        with _reserve(target) as partial:
            files = write(opened, formats, partial, options)
            if target.exists():  # it may be a link or a mounted disk, which must not be replaced
                for made in partial.iterdir():
                    shutil.move(made, target / made.name)
            else:
                partial.rename(target)
    except OSError as error:
        raise UserError(
            f"--out {target}: cannot be written ({error.strerror or error}). Choose a folder you may write to."
        ) from None
    return target, files


@contextlib.contextmanager
def _reserve(target: Path) -> Iterator[Path]:
    """Context manager that yields an empty folder beside `target`, which is removed afterwards.

    Raise UserError if another export to the same place is at work.
    """

    def report_busy():
        raise UserError(f"--out {target}: another export writes there. Wait for it, or choose another folder.")

    work = target.absolute()
    work = work.with_name(f".{work.name}.partial")
    partial = work / "files"
    with contextlib.ExitStack() as held:
        for attempt in range(_ATTEMPTS):
            try:
                work.mkdir(parents=True, exist_ok=True)
                held.enter_context(hold_lock(work / "lock", report_busy))
                break
            except (FileNotFoundError, FileExistsError):  # another export ends just now, and has removed the folder
                if attempt == _ATTEMPTS - 1:
                    raise
        shutil.rmtree(partial, ignore_errors=True)  # of an export that was killed
        try:
            partial.mkdir()
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            # While it is held: whoever waits for a lock whose file is gone begins anew. Windows keeps open files.
            with contextlib.suppress(OSError):
                (work / "lock").unlink()
                work.rmdir()


def _build_app(
    runs: Sequence[str], formats: Sequence[str], out: Path | None, options: Options
) -> tuple[Path, list[dict]]:
    """Write an Android app; the arguments are those of `build`.

    Returns:
        (its file, the entries of the app and of its models for report.json).
    """
    from export.apk import build as apps
    from export.apk import keys

    if formats != (APK,):
        others = " ".join(f"--to {f}" for f in formats if f != APK)
        raise UserError(f"--to apk {others}: an app is one file, not a folder. Export it by itself.")
    apps.check_options(options.name, options.app_id, options.version_code)
    if out and out.suffix != ".apk":
        raise UserError(f"--out {out}: expected the name of a file that ends in .apk, such as {out}.apk.")
    if out and out.exists():
        raise UserError(f"--out {out}: is there already. Choose a new name, or remove it.")
    keys.check_installed()
    key, new = (keys.load(Path(options.key)), None) if options.key else keys.load_default()
    if new:
        click.echo(f"{new} is new: the key that signs your apps. {keys.ADVICE}", err=True)
    terminal.start_tensorflow()
    _check_installed(formats)
    opened = _open_sources(runs, options)
    with tempfile.TemporaryDirectory() as made:
        site = Path(made)
        files = write(opened, formats, site, options)
        name = options.name or json.loads((site / "manifest.webmanifest").read_text())["short_name"][: apps.MAX_NAME]
        camera = any(s.task.from_images for s in opened)
        app = apps.make_app(name, options.app_id, options.version_code, camera)
        target = out or _choose_folder(runs[0]).parent / f"{app.id.rpartition('.')[2]}.apk"
        if not out and target.exists():
            raise UserError(f"{target}: is there already. Choose a name with --out, or remove it.")
        content = apps.pack(site, app, key)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"--out {target}: cannot be written ({error.strerror or error}). Choose a folder you may write to."
        ) from None
    whole = {"file": target.name, "bytes": len(content), "quantize": "none", "interface": {}, "signatures": []}
    return target, [whole, *({**f, "file": f"assets/{f['file']}"} for f in files)]


def _open_sources(runs: Sequence[str], options: Options) -> list:
    """Return the sources of an export.

    Raise UserError if two have one task, or an option does not fit the tasks.
    """
    from export import source as sources

    opened = [sources.open_source(run) for run in runs]
    tasks = [s.task.name for s in opened]
    if len(set(tasks)) < len(tasks):
        raise UserError(
            f"{' and '.join(runs)}: two are for {max(tasks, key=tasks.count)}; a site has one network for each task."
        )
    truncation, representative = options.truncation, options.representative
    if truncation is not None and all(s.task.from_images for s in opened):
        raise UserError(f"--truncation {truncation}: {runs[0]} takes photos; only generators have it.")
    if representative is not None and not any(s.task.from_images for s in opened):
        raise UserError(f"--representative {representative}: {runs[0]} takes no photos. Leave it out.")
    return opened


def _choose_folder(run: str) -> Path:
    """Return the folder to write to if --out is not given: `export` in the folder of the network.

    run: the location of the network. For one on a hub, or that comes with pggan-tf, it is `export` in
        the working directory.
    """
    if keras_files.is_location(run) or pretrained.is_inside(run):
        return Path("export")
    return (Path(run) if Path(run).is_dir() else Path(run).parent) / "export"


def expand_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the requested formats, with those that hub stands for after it.

    If the packages for tflite are not installed, hub does without, which is printed.
    """
    if HUB not in formats:
        return tuple(formats)
    missing = _find_missing()
    if missing:
        click.echo(f'without a .tflite, {", ".join(missing)} not installed: pip install "pggan-tf[export]"', err=True)
    return tuple(dict.fromkeys((*formats, "keras", *(() if missing else ("tflite",)))))


def _find_missing() -> list[str]:
    """Return the packages that .tflite files need and that are not installed."""
    return _list_absent(("ai_edge_litert", "ai_edge_quantizer"))


def _list_absent(packages: Sequence[str]) -> list[str]:
    """Return those of the packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


# option -> the formats that use it
_READ = {
    "quantize": ("tflite", "web", APK, projects.ANDROID),
    "output": ("tflite", "savedmodel", "onnx", "coreml"),
    "truncation": ("tflite", "savedmodel", "onnx", "coreml", "web", APK, *PROJECTS),
    "representative": ("tflite", "savedmodel", "onnx", "coreml", "web", APK, *PROJECTS),
    "subject": ("web", APK, *PROJECTS),
    "name": (APK, *PROJECTS),
    "app_id": (APK, *PROJECTS),
    "version_code": (APK,),
    "key": (APK,),
}


def _check_read(formats, options: Options) -> None:
    """Raise UserError if an option was given that none of the requested formats uses.

    Args:
        formats: the requested formats, from FORMATS.
        options: the options; None: not given.
    """
    for name in _READ:
        value = getattr(options, name)
        if value is not None and not set(formats) & set(_READ[name]):
            raise UserError(
                f"--{name.replace('_', '-')} {value} with --to {' --to '.join(formats)}: nothing would read it. "
                f"It works with --to {', '.join(_READ[name])}."
            )


def _check_installed(formats) -> None:
    """Raise UserError, which names all of them, if packages that requested formats need are missing.

    For a page, alone or in an app, also download the runtime of the page if it is not in the cache.
    """
    from export import coreml, onnx

    needs = {
        "export": (("tflite", "web", APK, projects.ANDROID), _find_missing()),
        "onnx": (("onnx",), _list_absent(onnx.PACKAGES)),
        "coreml": (("coreml", projects.IOS), _list_absent((coreml.PACKAGE,))),
    }
    lacking = {
        extra: (asked, missing)
        for extra, (users, missing) in needs.items()
        if missing and (asked := [name for name in formats if name in users])
    }
    if lacking:
        said = "; ".join(
            f"{', '.join(asked)}: {', '.join(missing)} not installed" for asked, missing in lacking.values()
        )
        raise UserError(f'{said}. Type: pip install "pggan-tf[{",".join(lacking)}]"')
    if {"web", APK} & set(formats):
        from export import web

        web.fetch_runtime()


def write(opened, formats, out: Path, options: Options) -> list[dict]:
    """Write all files into the folder `out` and return their entries for report.json.

    Args:
        opened: the sources; several for a web site or an app, else one.
        formats: the requested formats, as `expand_formats` returns them.
        out: an empty folder; of an app, the folder of its page.
        options: the options of the command.

    Raises:
        UserError: if a file differs too much from Keras, or int8 has no photos to calibrate on.
    """
    from export import card, web
    from export import source as sources

    def photos(source):
        """Return photos for examples, uint8 [N, S, S, 3]; empty for a generator of latents."""
        if not source.task.from_images:
            return ()
        own = source.load_photos(options.representative)
        if own is None and (options.quantize == "int8" or options.everything):
            given = "--all" if options.everything else "--quantize int8"
            raise UserError(
                f"{given}: int8 measures its ranges on photos, and the data of {source.name} are not here. "
                "Give a folder of photos: --representative FOLDER"
            )
        return own if own is not None else sources.draw_portraits(source.network.resolutions[-1])

    if formats in (("web",), (APK,)):
        # In an app, no page can have threads, and one build of the runtime runs on every phone.
        runtimes = web.RUNTIMES if formats == ("web",) else web.RUNTIMES[:1]
        files = web.build(opened, out, *_collect_site_options(options, photos, runtimes))
        for source in opened:
            which = "" if len(opened) == 1 else f"-{source.task.name}"
            own = [f for f in files if f["file"] == f"models/{source.task.name}.tflite"]
            _write_report(source, out / f"report{which}.json", options.licence, own)
            _write_config(source, out / f"run{which}.json")
            text = card.make_card(source, options.licence, own, samples=False, which=which)
            (out / f"MODEL_CARD{which}.md").write_text(text, encoding="utf-8", errors="replace")
        return files
    (source,) = opened
    files = write_files(source, formats, out, options, photos(source))
    if "web" in formats:
        (out / "web").mkdir()
        made = web.build(opened, out / "web", *_collect_site_options(options, photos, web.RUNTIMES))
        files += [{**f, "file": f"web/{f['file']}"} for f in made]
    if set(formats) & set(PROJECTS):
        from export.projects import build as of_projects

        files += of_projects.build(source, formats, out, options, photos(source))
    samples = write_samples(source, out, options.truncation, HUB in formats, not options.no_mark)
    _write_report(source, out / sources.REPORT, options.licence, files)
    text = card.make_card(source, options.licence, files, samples)
    for name in card.NAMES:
        (out / name).write_text(text, encoding="utf-8", errors="replace")
    _write_config(source, out / sources.RUN)
    return files


def _collect_site_options(options: Options, photos, runtimes: Sequence[str]) -> tuple:
    """Return the positional arguments of `web.build` that follow `out`.

    Args:
        options: the options of the command.
        photos: function from a source to photos for examples, as in `web.build`.
        runtimes: builds of the runtime, as in `web.build`.
    """
    chosen = options.quantize or "dynamic", options.truncation, photos, options.licence, options.subject or "face"
    return *chosen, not options.no_mark, runtimes


def _write_report(source, path: Path, licence: str | None, files: list[dict]) -> None:
    """Write report.json: facts about the source, and the entries of its files.

    licence: licence of the weights; None: the licence that the source states.
    """
    licence = licence or source.licence
    whose = {"source": source.name, "task": source.task.name, "sha256": source.sha256, "licence": licence}
    path.write_text(json.dumps({**whose, "files": files}, indent=1) + "\n")


def _write_config(source, path: Path) -> None:
    """Write the configuration of the source's run, if it is known, without the user's folders."""
    from pggan_tf.runs import folder as runs

    if source.plan is not None:
        runs.write_json(path, records.remove_places(json.loads(source.config_file.read_text())))
