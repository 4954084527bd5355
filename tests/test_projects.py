"""Projects for Android Studio and Xcode: their files can be read, their facts are the network's, and their Kotlin draws its images."""

import importlib.util
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from export import build, litert, mil, signatures
from export.projects import facts, write
from pggan_tf import synthesis, tasks
from pggan_tf.data import colour, pixels, transparency
from pggan_tf.errors import UserError
from tests import image_networks, kotlin_stubs
from tests.conftest import pggan
from tests.test_export import refused
from tests.test_web import generator

NAME = 'It\'s <Faces> & "x" $(Y)'
CLASSES = ('cat "$x\\', "dog\u2028\n")
KINDS = {
    "faces": lambda: generator(classes=CLASSES),
    "sprites": lambda: generator(classes=CLASSES, channels=4),
    "colorize": lambda: image_networks.built("colorize"),
    "upscale": lambda: image_networks.built("upscale"),
}
ANDROID = "{http://schemas.android.com/apk/res/android}"
CODE = "app/src/main/kotlin/pggan/app"


@pytest.fixture(scope="module", params=KINDS)
def written(request, tmp_path_factory):
    """(network, folder): both projects of a network, without its files."""
    network, folder = KINDS[request.param](), tmp_path_factory.mktemp(request.param)
    offered = facts.choose_signatures(signatures.network_signatures(network, dynamic=False, pixels="float32"))
    icon = folder / "icon.png"
    Image.effect_noise((512, 512), 90).convert("RGB").save(icon)
    task = tasks.task_of(network)
    known = facts.collect_facts(network, offered)
    project = write.Project(NAME, "org.example.some_faces", "A network", "cc-by-4.0", "horse", task, known, icon)
    write.write_android(project, b"network", folder / "android")
    write.write_ios(project, folder / "ios")
    return network, folder


def look(path):
    """Return (size, mode) of a picture."""
    with Image.open(path) as picture:
        return picture.size, picture.mode


def find_faults(node):
    """Return the places of a syntax tree that are no sentences of the language."""
    if node.is_error or node.is_missing:
        yield node.start_point, node.text[:60]
    for child in node.children:
        yield from find_faults(child)


@pytest.mark.parametrize(
    "module, endings", [("tree_sitter_kotlin", (".kt", ".kts")), ("tree_sitter_swift", (".swift",))]
)
def test_the_code_can_be_parsed(written, module, endings):
    tree_sitter = pytest.importorskip("tree_sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(pytest.importorskip(module).language()))
    files = [p for p in written[1].rglob("*") if p.suffix in endings]
    assert len(files) >= 5
    for path in files:
        assert not [*find_faults(parser.parse(path.read_bytes()).root_node)], path
    assert [*find_faults(parser.parse(b"fun (").root_node)]


def test_no_word_of_a_template_is_left(written):
    for path in written[1].rglob("*"):
        if path.is_file() and path.suffix not in (".png", ".tflite"):
            assert not re.search(r"@[A-Z_]+@", path.read_text()), path


def test_android_s_files_say_what_the_app_is(written):
    network, folder = written
    main = folder / "android/app/src/main"
    manifest = ElementTree.parse(main / "AndroidManifest.xml").getroot()
    assert not manifest.findall("uses-permission")
    application = manifest.find("application")
    assert application.get(f"{ANDROID}label") == "@string/name"
    assert application.find("activity").get(f"{ANDROID}name") == "pggan.app.MainActivity"
    (shown,) = ElementTree.parse(main / "res/values/strings.xml").getroot().findall("string")
    assert re.sub(r"\\(.)", r"\1", shown.text) == NAME
    # What is referred to is there.
    text = "".join(p.read_text() for p in main.rglob("*.xml"))
    for kind, word in re.findall(r'"@(mipmap)/(\w+)"', text):
        assert [*main.glob(f"res/{kind}-*/{word}.*")], word
    for theme in ("values", "values-night"):
        assert ElementTree.parse(main / "res" / theme / "themes.xml").getroot().find("style").get("name") == "Screen"
    sizes = {p.parent.name: look(p)[0] for p in main.rglob("icon.png")}
    assert sizes["mipmap-mdpi"] == (48, 48) and sizes["mipmap-xxxhdpi"] == (192, 192)
    built = (folder / "android/app/build.gradle.kts").read_text()
    assert 'applicationId = "org.example.some_faces"' in built and "minSdk = 24" in built
    assert re.search(r'litert:litert:\d+\.\d+\.\d+"', built) and "+" not in re.sub("noCompress \\+=", "", built)
    assert (main / "assets/generator.tflite").read_bytes() == b"network"
    for path in ("settings.gradle.kts", "build.gradle.kts", "gradle.properties", ".gitignore", "README.md"):
        assert (folder / "android" / path).is_file()
    assert re.search(r"gradle-\d+\.\d+\.\d+-bin\.zip", (folder / "android/gradle/wrapper/gradle-wrapper.properties").read_text())  # fmt: skip


def test_xcode_s_project_holds_every_file(written):
    plist = pytest.importorskip("openstep_plist")
    folder = written[1] / "ios"
    project = plist.loads((folder / "App.xcodeproj/project.pbxproj").read_text(), use_numbers=False)
    objects = project["objects"]
    assert objects[project["rootObject"]]["isa"] == "PBXProject"
    kinds: dict[str, list[dict]] = {}
    for value in objects.values():
        kinds.setdefault(value["isa"], []).append(value)
    files = {f["path"]: f.get("lastKnownFileType") for f in kinds["PBXFileReference"]}
    there = {p.name for p in (folder / "App").iterdir()} | {"generator.mlpackage"}
    assert set(files) - {"App.app"} == there and files["generator.mlpackage"] == "folder.mlpackage"
    # Code and network are compiled, the icon is copied; each object that is named is there, and each that is there is named.
    (sources,), (resources,) = kinds["PBXSourcesBuildPhase"], kinds["PBXResourcesBuildPhase"]
    names = [{objects[objects[b]["fileRef"]]["path"] for b in phase["files"]} for phase in (sources, resources)]
    assert names == [there - {"Assets.xcassets"}, {"Assets.xcassets"}]
    named = re.findall(r"\bA[0-9A-F]{23}\b", json.dumps([*objects.values(), project["rootObject"]]))
    assert set(named) == set(objects)
    settings = [c["buildSettings"] for c in kinds["XCBuildConfiguration"] if "PRODUCT_NAME" in c["buildSettings"]]
    assert len(settings) == 2 and settings[0] == settings[1]
    assert settings[0]["PRODUCT_BUNDLE_IDENTIFIER"] == "org.example.some-faces"
    assert settings[0]["INFOPLIST_KEY_CFBundleDisplayName"] == NAME.replace("$", "")
    assert settings[0]["IPHONEOS_DEPLOYMENT_TARGET"] == "18.0"
    for path in folder.rglob("Contents.json"):
        for image in json.loads(path.read_text()).get("images", []):
            assert look(path.parent / image["filename"]) == ((1024, 1024), "RGB")


def read_facts(text: str) -> list[tuple]:
    """Return [(name, {input: shape}, [height, width, channels])] of Facts.kt or Facts.swift."""
    found = []
    for name, inputs, *size in re.findall(
        r'Signature\((?:name: )?"(\w+)", (?:inputs: \[|mapOf\()\n(.*?)\n\s*[)\]], '
        r"height(?: =|:) (\d+), width(?: =|:) (\d+), channels(?: =|:) (\d+)\)",
        text,
        re.S,
    ):
        shapes = re.findall(r'"(\w+)"(?:: \[| to listOf\()([\d, ]+)[\])],', inputs)
        found.append((name, {n: [*map(int, s.split(","))] for n, s in shapes}, [*map(int, size)]))
    return found


def test_names_of_classes_are_those_of_the_network(written):
    network, folder = written
    kotlin, swift = ((folder / p).read_text() for p in (f"android/{CODE}/Facts.kt", "ios/App/Facts.swift"))
    if network.task == "generate":
        assert r'val CLASSES: List<String> = listOf("cat \"\$x\\", "dog  ")' in kotlin
        assert r'static let classes: [String] = ["cat \"$x\\", "dog  "]' in swift
    else:
        assert "CLASSES" not in kotlin and "classes" not in swift
    assert read_facts(kotlin) == read_facts(swift) != []


def read_table(model: bytes) -> list[tuple]:
    """Return what `read_facts` returns, from the own table of a .tflite file."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    interpreter, found = Interpreter(model_content=model), []
    for name in (d.signatureKey.decode() for d in parsed.signatureDefs):
        run = interpreter.get_signature_runner(name)
        inputs = {n: i["shape"].tolist() for n, i in run.get_input_details().items()}
        found.append((name, inputs, run.get_output_details()["image"]["shape"].tolist()[1:]))
    return found


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def exported(request, tmp_path_factory):
    """(network, folder) of an export of both projects, by the command."""
    pytest.importorskip("coremltools", reason="coremltools is not installed (extra coreml)")
    network, folder = KINDS[request.param](), tmp_path_factory.mktemp(request.param)
    network.save(folder / "generator.keras")
    to = ("--to", "android-project", "--to", "ios-project", "--out", folder / "out")
    code, said, err = pggan("export", folder / "generator.keras", *to, "--name", NAME, "--licence", "cc0-1.0")
    assert code == 0, err
    assert "android-project" in said and "ios-project" in said
    return network, folder / "out"


@pytest.mark.slow
def test_facts_are_those_of_the_files(exported):
    _, out = exported
    model = (out / "android-project" / write.TFLITE).read_bytes()
    known = read_facts((out / "android-project" / CODE / "Facts.kt").read_text())
    assert known == read_table(model)
    assert litert.read_metadata(model)["signatures"].keys() == {name for name, *_ in known}
    description = mil.Program(out / "ios-project" / write.PACKAGE).description
    table = {f.name: {i.name: [*i.type.multiArrayType.shape] for i in f.input} for f in description.functions}
    swift = read_facts((out / "ios-project/App/Facts.swift").read_text())
    assert {name: inputs for name, inputs, _ in swift} == table and swift[0][0] == description.defaultFunctionName
    assert swift == known
    files = {f["file"]: f for f in json.loads((out / "report.json").read_text())["files"]}
    assert set(files) == {f"android-project/{write.TFLITE}", f"ios-project/{write.PACKAGE}"}
    assert "cc0-1.0" in (out / "android-project/README.md").read_text()


@pytest.mark.slow
def test_the_kotlin_draws_the_network_s_images(exported, tmp_path):
    """Compiled against stand-ins for Android's and LiteRT's classes, and run on Java."""
    if not kotlin_stubs.find_compiler():
        pytest.skip("no Kotlin compiler: kotlinc, or pip install kotlin-jupyter-kernel==0.19.0.944, and a JDK")
    network, out = exported
    project, faces = out / "android-project", network.task == "generate"
    command = kotlin_stubs.compile_project(project, kotlin_stubs.compile_stubs(tmp_path), tmp_path / "app", faces)
    run = litert.Runner((project / write.TFLITE).read_bytes())
    shapes = {name: inputs for name, inputs, _ in read_facts((project / CODE / "Facts.kt").read_text())}
    if faces:
        for seed, stage, variety, kind in ((5, 16, 1.0, 0), (2**32 - 1, 4, 0.7, 1)):
            made, inputs = kotlin_stubs.draw(command, f"gen_{stage} {seed} {variety} {kind}", run, shapes)
            z = synthesis.latents([seed], network.latent_size)
            np.testing.assert_allclose(inputs["latents"], z, atol=1e-6)
            truth = synthesis.Sampler(network).images(z, stage, truncation=variety, labels=np.int32([kind]))
            check_colours(made, truth[0])
    else:
        ((name, (_, height, width, channels)),) = next(iter(shapes.values())).items()
        photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        packed = photo[..., 0].astype(int) << 16 | photo[..., 1].astype(int) << 8 | photo[..., 2]
        made, inputs = kotlin_stubs.draw(command, " ".join(map(str, packed.ravel())), run, shapes)
        given = photo if channels == 3 else np.rint(colour.to_gray(photo))
        np.testing.assert_array_equal(inputs[name][0], given)
        offered = signatures.network_signatures(network, dynamic=False, pixels="float32")[0]
        check_colours(made, pixels.to_uint8(offered.function(**{name: given[None].astype(np.float32)}).numpy())[0])


def check_colours(made: np.ndarray, image: np.ndarray) -> None:
    """Compare what is seen of colours 0xAARRGGBB with an image, uint8 [H, W, C], whose last channel may be alpha."""
    rgba = np.stack([made >> shift & 255 for shift in (16, 8, 0, 24)], -1).astype(np.uint8)
    colours = transparency.count_colours(image.shape[-1])
    opacity = image[..., colours:] if colours < image.shape[-1] else np.full_like(image[..., :1], 255)
    truth = np.concatenate([np.broadcast_to(image[..., :colours], (*image.shape[:2], 3)), opacity], -1).reshape(-1, 4)
    a, b = (transparency.premultiply(x).astype(int) for x in (rgba, truth))
    assert np.abs(a - b).max() <= 1
    assert opacity.min() == 255 or opacity.max() - opacity.min() > 100


def test_what_is_built_into_the_file_is_no_input():
    from tests.test_signatures import Faces

    known = facts.collect_facts(Faces(), signatures.network_signatures(Faces(), 0.5))
    assert known.images == tuple((r, r, 3) for r in (8, 16, 4)) and not known.classes
    assert "truncation" not in facts.write_kotlin(known)["SIGNATURES"]


def test_options_that_no_project_reads_are_refused(tmp_path):
    network = tmp_path / "generator.keras"
    KINDS["upscale"]().save(network)

    def no(word, *options):
        refused(pggan("export", network, "--out", tmp_path / "out", *options), word)

    no("--quantize dynamic.*nothing would read it", "--to", "ios-project", "--quantize", "dynamic")
    no("--key k.pem.*nothing would read it", "--to", "android-project", "--key", "k.pem")
    no("--app-id 'faces'.*two or more words", "--to", "ios-project", "--app-id", "faces")
    no("an app is one file", "--to", "android-project", "--to", "apk")
    assert not (tmp_path / "out").exists()


def test_without_coremltools_a_message_says_what_to_type(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ios-project.*pip install \"pggan-tf\[coreml\]\""):
        build._check_installed(("ios-project",))


def test_all_extras_that_are_missing_are_named_at_once(monkeypatch, tmp_path):
    """And none that nothing needs which was asked for."""
    find, missing = importlib.util.find_spec, {"coremltools", "onnx", "tf2onnx"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name in missing else find(name, *rest))
    for asked, message in (
        (
            ["--all"],
            "onnx: tf2onnx, onnx not installed; coreml: coremltools not installed. "
            'Type: pip install "pggan-tf[onnx,coreml]"',
        ),
        (["--to", "coreml"], 'coreml: coremltools not installed. Type: pip install "pggan-tf[coreml]"'),
        (["--to", "keras", "--to", "onnx"], 'onnx: tf2onnx, onnx not installed. Type: pip install "pggan-tf[onnx]"'),
    ):
        code, _, err = pggan("export", "portraits", *asked, "--out", tmp_path / "out")
        assert (code, err) == (2, f"error: {message}\n") and not (tmp_path / "out").exists()
