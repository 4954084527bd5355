"""Write the files of a project from the templates."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from export.apk import icons
from export.card import escape as escape_markdown
from export.projects import facts as facts_of
from export.projects.facts import Facts, quote
from export.samples import LITERT
from pggan_tf.tasks import Task

_TEMPLATES = Path(__file__).parent
# Versions that go together: Android's plugin for Gradle, Kotlin (LiteRT is written in its 2.3) and
# Gradle.
_VERSIONS = {"PLUGIN": "8.13.2", "KOTLIN": "2.3.21", "GRADLE": "8.14.3", "LITERT": LITERT}
_ICON = 1024  # pixels of the icon of an iPhone's app
# Where a project holds its network.
TFLITE = "app/src/main/assets/generator.tflite"
PACKAGE = "App/generator.mlpackage"


@dataclass(frozen=True)
class Project:
    """What a project is called and holds."""

    name: str  # name below the icon
    app_id: str  # application id, see `export.apk.build.make_id`
    about: str  # what the network is, in a sentence
    licence: str  # licence of the weights
    subject: str  # noun for what a generator draws, in lower case
    task: Task
    facts: Facts
    icon: Path  # file of a square picture


def write_android(project: Project, model: bytes, out: Path) -> None:
    """Write a project for Android Studio.

    Args:
        project: what it is called and holds.
        model: content of the .tflite file.
        out: the folder to write.
    """
    texts = _collect_texts(project, kotlin=True) | facts_of.write_kotlin(project.facts) | _VERSIONS
    texts |= {"APP_ID": project.app_id, "WORD": project.app_id.rpartition(".")[2]}
    texts |= {"NAME_XML": _escape_resource(project.name)}
    _fill("android", project, texts, out)
    (out / TFLITE).parent.mkdir()
    (out / TFLITE).write_bytes(model)
    for name, pictures in zip(("icon", "icon_whole"), icons.draw(project.icon)):
        for density, png in pictures.items():
            folder = out / f"app/src/main/res/mipmap-{density}"
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.png").write_bytes(png)


def write_ios(project: Project, out: Path) -> None:
    """Write a project for Xcode, all but the package of the network.

    Args:
        project: what it is called and holds.
        out: the folder to write.
    """
    texts = _collect_texts(project, kotlin=False) | facts_of.write_swift(project.facts)
    _fill("ios", project, texts, out)
    sources = sorted(p.name for p in (out / "App").glob("*.swift"))
    path = out / "App.xcodeproj/project.pbxproj"
    path.write_text(_list_files(path.read_text(), [*sources, Path(PACKAGE).name], _make_settings(project)))
    (out / "App/Assets.xcassets/AppIcon.appiconset/icon.png").write_bytes(_enlarge(project.icon))


def _collect_texts(project: Project, kotlin: bool) -> dict[str, str]:
    """Return the texts for words between two @ that both projects have."""
    page, subject = project.task.page, project.subject
    return {
        "NAME_MARKDOWN": escape_markdown(project.name),
        "ABOUT_MARKDOWN": escape_markdown(project.about),
        "LICENCE_MARKDOWN": escape_markdown(project.licence),
        "SUBJECT_QUOTED": quote(f"A drawn {subject}", kotlin),
        "BUTTON_QUOTED": quote(f"New {subject}", kotlin),
        "INSTRUCTION_QUOTED": quote(page.instruction, kotlin),
        "BEFORE_QUOTED": quote(page.tags[0], kotlin),
        "AFTER_QUOTED": quote(page.tags[1], kotlin),
    }


def _fill(system: str, project: Project, texts: dict[str, str], out: Path) -> None:
    """Copy the templates of a system, with texts in place of words between two @.

    Args:
        system: android or ios.
        project: the project.
        texts: word -> text.
        out: the folder to write.
    """
    for kind in ("common", "photo" if project.task.from_images else "faces"):
        folder = _TEMPLATES / system / kind
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder)
            target = out / name.with_name(".gitignore" if name.name == "gitignore" else name.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            filled = re.sub(r"@([A-Z_]+)@", lambda found: texts.get(found[1], found[0]), text)
            target.write_text(filled, encoding="utf-8")


def _escape_resource(text: str) -> str:
    """Return a text for a string of Android's resources, where some signs mean something else."""
    marked = re.sub(r"['\"\\]|^[@?]", r"\\\g<0>", text)
    return escape(marked)


def _make_settings(project: Project) -> dict[str, tuple[str, str]]:
    """Return the settings of an app for Xcode: name -> (value, what it means)."""
    # Words of an iPhone's ids have no underscores. $ begins a variable of Xcode's settings.
    shown = quote(project.name.replace("$", ""))
    return {
        "ASSETCATALOG_COMPILER_APPICON_NAME": ("AppIcon", "in Assets.xcassets"),
        "CODE_SIGN_STYLE": ("Automatic", "Xcode signs, once you have chosen your team"),
        "COREML_CODEGEN_LANGUAGE": ("None", "Network.swift calls Core ML itself"),
        "CURRENT_PROJECT_VERSION": ("1", "an update needs a larger number"),
        "GENERATE_INFOPLIST_FILE": ("YES", "Xcode writes Info.plist by the lines that begin with INFOPLIST"),
        "INFOPLIST_KEY_CFBundleDisplayName": (shown, "the name below the icon"),
        "INFOPLIST_KEY_UIApplicationSceneManifest_Generation": ("YES", "as apps of SwiftUI need it"),
        "INFOPLIST_KEY_UILaunchScreen_Generation": ("YES", "an empty screen while the app starts"),
        "INFOPLIST_KEY_UISupportedInterfaceOrientations": (
            '"UIInterfaceOrientationPortrait UIInterfaceOrientationPortraitUpsideDown '
            'UIInterfaceOrientationLandscapeLeft UIInterfaceOrientationLandscapeRight"',
            "however the phone is held",
        ),
        "IPHONEOS_DEPLOYMENT_TARGET": ("18.0", "the first iOS with several functions in a package"),
        "MARKETING_VERSION": ("1.0", "what people see"),
        "PRODUCT_BUNDLE_IDENTIFIER": (quote(project.app_id.replace("_", "-")), "no other app may have it"),
        "PRODUCT_NAME": ('"$(TARGET_NAME)"', ""),
        "SWIFT_VERSION": ("5.0", ""),
        "TARGETED_DEVICE_FAMILY": ('"1,2"', "iPhone and iPad"),
    }


def _list_files(text: str, names: list[str], settings: dict[str, tuple[str, str]]) -> str:
    """Return the text of project.pbxproj with its files and settings.

    Args:
        text: its template.
        names: names of the files in App that are compiled.
        settings: as `_make_settings` returns them.
    """
    built, files, children, compiled = [], [], [], []
    for i, name in enumerate(names):
        file, build = f"A{i + 0x80:023X}", f"A{i + 0x180:023X}"
        kind = "folder.mlpackage" if name.endswith(".mlpackage") else "sourcecode.swift"
        built.append(f"\t\t{build} /* {name} */ = {{isa = PBXBuildFile; fileRef = {file}; }};")
        about = f'{{isa = PBXFileReference; lastKnownFileType = {kind}; path = {name}; sourceTree = "<group>"; }}'
        files.append(f"\t\t{file} /* {name} */ = {about};")
        children.append(f"\t\t\t\t{file} /* {name} */,")
        compiled.append(f"\t\t\t\t{build} /* {name} */,")
    set_to = [
        f"\t\t\t\t{name} = {value};{f' /* {about} */' if about else ''}" for name, (value, about) in settings.items()
    ]
    lists = {"BUILD_FILES": built, "FILES": files, "CHILDREN": children, "COMPILED": compiled, "SETTINGS": set_to}
    for word, lines in lists.items():
        text = text.replace(f"@{word}@", "\n".join(lines))
    return text


def _enlarge(icon: Path) -> bytes:
    """Return a picture as PNG of the size of an iPhone's icon, without transparency."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(icon) as opened:
        opened.convert("RGB").resize((_ICON, _ICON), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()
