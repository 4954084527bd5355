"""Write what Android reads first of an app: its manifest, and the table of its values."""

from __future__ import annotations

from dataclasses import dataclass

from export.apk import axml, resources
from export.apk.axml import Element
from export.apk.chunks import Colour, Reference, Value
from export.apk.icons import DENSITIES
from export.apk.resources import Style, When

MIN_API, TARGET_API = 24, 36  # Android 7 and Android 16
# Of the framework: android.R.style.Theme_Material_Light_NoActionBar, .Theme_Material_NoActionBar
# and android.R.color.transparent.
_LIGHT, _DARK, _TRANSPARENT = 0x01030241, 0x0103022E, 0x0106000D
# Background of the page, see export/web/style.css.
_PAPER, _NIGHT_PAPER = Colour(0xFFF6F5F2), Colour(0xFF16171A)
# Changes at which the screen is only laid out anew: keyboard 0x10, keyboardHidden 0x20, orientation
# 0x80, screenLayout 0x100, screenSize 0x400, smallestScreenSize 0x800. At another, such as the dark
# mode, it is built anew.
_LAID_OUT = 0x10 | 0x20 | 0x80 | 0x100 | 0x400 | 0x800
_RESIZE = 0x10  # adjustResize: the keyboard covers nothing of the page
# Names of the icon, and of the picture that a shape is cut out of.
_ROUND, _WHOLE = "icon", "icon_whole"
NAMES = {"string": ["label"], "color": ["paper"], "mipmap": [_ROUND, _WHOLE], "style": ["page"]}


@dataclass(frozen=True)
class App:
    """What an app is called, and what it asks for."""

    name: str  # below its icon
    id: str  # application id, such as pggan.faces
    version: int  # version code; an update needs a larger one
    version_name: str  # as the phone's settings show it
    camera: bool  # whether the page has a use for the camera


def find(kind: str, name: str) -> Reference:
    """Return the number of one of the app's values."""
    return resources.reference(NAMES, kind, name)


def pack_manifest(app: App) -> bytes:
    """Return AndroidManifest.xml in binary form."""
    main = Element("action", {"android:name": "android.intent.action.MAIN"})
    launcher = Element("category", {"android:name": "android.intent.category.LAUNCHER"})
    screen: dict[str, Value] = {
        "android:name": "pggan.app.Main",
        "android:exported": True,
        "android:configChanges": _LAID_OUT,
        "android:windowSoftInputMode": _RESIZE,
    }
    pictures: dict[str, Value] = {
        "android:name": "pggan.app.Pictures",
        "android:authorities": f"{app.id}.pictures",
        "android:exported": False,
        "android:grantUriPermissions": True,
    }
    look: dict[str, Value] = {
        "android:label": find("string", "label"),
        "android:icon": find("mipmap", _ROUND),
        "android:theme": find("style", "page"),
        "android:allowBackup": False,
        "android:supportsRtl": True,
    }
    parts = (
        Element("activity", screen, (Element("intent-filter", {}, (main, launcher)),)),
        Element("provider", pictures),
    )
    # What the permission implies is not required: a phone without a camera can have the app, too.
    implied = ("android.hardware.camera", "android.hardware.camera.autofocus")
    camera = (
        Element("uses-permission", {"android:name": "android.permission.CAMERA"}),
        *(Element("uses-feature", {"android:name": name, "android:required": False}) for name in implied),
    )
    versions: dict[str, Value] = {
        "android:versionCode": app.version,
        "android:versionName": app.version_name,
        "package": app.id,
    }
    return axml.pack(
        Element(
            "manifest",
            versions,
            (
                Element("uses-sdk", {"android:minSdkVersion": MIN_API, "android:targetSdkVersion": TARGET_API}),
                *(camera if app.camera else ()),
                Element("application", look, parts),
            ),
        )
    )


def pack_values(app: App, rounded: dict[str, bytes], whole: dict[str, bytes]) -> dict[str, bytes]:
    """Return {name of an entry: content} of the table of values and the files that it names.

    Args:
        app: the app.
        rounded: icon of Android 7, {name of a density: PNG}.
        whole: picture out of which newer ones cut a shape, {name of a density: PNG}.
    """
    files: dict[str, bytes] = {}
    icons: dict[str, dict[When, Value | Style]] = {_ROUND: {}, _WHOLE: {}}
    for name, drawn in ((_ROUND, rounded), (_WHOLE, whole)):
        for density, content in drawn.items():
            path = f"res/mipmap-{density}/{name}.png"
            files[path] = content
            icons[name][When(density=round(160 * DENSITIES[density]))] = path
    shaped = f"res/mipmap-anydpi-v26/{_ROUND}.xml"
    icons[_ROUND][When(density=resources.ANY_DENSITY, version=26)] = shaped
    files[shaped] = axml.pack(
        Element(
            "adaptive-icon",
            {},
            (
                Element("background", {"android:drawable": find("mipmap", _WHOLE)}),
                Element("foreground", {"android:drawable": Reference(_TRANSPARENT)}),
            ),
        )
    )
    paper = find("color", "paper")
    same: dict[str, Value] = {"windowBackground": paper, "statusBarColor": paper}
    table: resources.Resources = {
        "string": {"label": {When(): app.name}},
        "color": {"paper": {When(): _PAPER, When(night=True): _NIGHT_PAPER}},
        "mipmap": icons,
        "style": {
            "page": {
                When(): Style(_LIGHT, {**same, "windowLightStatusBar": True}),
                When(night=True): Style(_DARK, {**same, "windowLightStatusBar": False}),
            }
        },
    }
    return {"resources.arsc": resources.pack(app.id, table), **files}
