"""Small stand-ins for the classes of Android and LiteRT that exported projects use, to compile and run their Kotlin on a JVM.

A stand-in of LiteRT hands what it is given to the test, which runs the network. Names and types of LiteRT's are those of its
release 2.3 (litert/kotlin/src/main/kotlin/com/google/ai/edge/litert in github.com/google-ai-edge/LiteRT).
"""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

# Each class is its name, what it is, and its body, which ends with } and an empty line.
STUBS = r"""
com.google.ai.edge.litert.Accelerator enum { NONE, CPU, GPU, NPU }

com.google.ai.edge.litert.TensorBuffer class implements AutoCloseable {
  public Object values;
  public boolean closed;
  public static int open = 0;
  public TensorBuffer() { open++; }
  public void writeFloat(float[] data) { values = data; }
  public void writeInt(int[] data) { values = data; }
  public float[] readFloat() { return (float[]) values; }
  public void close() { if (closed) throw new IllegalStateException("twice"); closed = true; open--; }
}

com.google.ai.edge.litert.CompiledModel class implements AutoCloseable {
  public static class Options { public Options(Accelerator... accelerators) {} }
  public static CompiledModel create(android.content.res.AssetManager assets, String name, Options options) {
    if (!name.equals("generator.tflite")) throw new IllegalArgumentException(name);
    return new CompiledModel();
  }
  public TensorBuffer createInputBuffer(String name, String signature) { return new TensorBuffer(); }
  public TensorBuffer createOutputBuffer(String name, String signature) { return new TensorBuffer(); }
  public void run(java.util.Map<String, TensorBuffer> inputs, java.util.Map<String, TensorBuffer> outputs, String signature) {
    StringBuilder line = new StringBuilder("run " + signature);
    inputs.forEach((name, buffer) -> {
      Object data = buffer.values;
      boolean whole = data instanceof int[];
      int size = whole ? ((int[]) data).length : ((float[]) data).length;
      java.nio.ByteBuffer bytes = java.nio.ByteBuffer.allocate(4 * size).order(java.nio.ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < size; i++) if (whole) bytes.putInt(((int[]) data)[i]); else bytes.putFloat(((float[]) data)[i]);
      line.append(" " + name + " " + (whole ? "int32" : "float32") + " " + java.util.Base64.getEncoder().encodeToString(bytes.array()));
    });
    System.out.println(line);
    java.nio.FloatBuffer answer = java.nio.ByteBuffer.wrap(java.util.Base64.getDecoder().decode(Check.lines.nextLine())).order(java.nio.ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    float[] image = new float[answer.remaining()];
    answer.get(image);
    outputs.get("image").values = image;
  }
  public void close() {}
}

com.google.ai.edge.litert.Check class {
  public static final java.util.Scanner lines = new java.util.Scanner(System.in);
}

android.content.res.AssetManager class {}

android.content.res.Resources class { public android.util.DisplayMetrics getDisplayMetrics() { return null; } }

android.util.DisplayMetrics class { public float density; }

android.util.AttributeSet interface {}

android.os.Bundle class {
  public long getLong(String key) { return 0; }
  public void putLong(String key, long value) {}
  public String getString(String key) { return null; }
  public void putString(String key, String value) {}
}

android.net.Uri class { public static Uri parse(String text) { return null; } }

android.content.Intent class {
  public static final String ACTION_OPEN_DOCUMENT = "", CATEGORY_OPENABLE = "";
  public Intent(String action) {}
  public Intent addCategory(String name) { return this; }
  public Intent setType(String type) { return this; }
  public android.net.Uri getData() { return null; }
}

android.content.ContentResolver class { public java.io.InputStream openInputStream(android.net.Uri uri) { return null; } }

android.content.Context class {
  public android.content.res.AssetManager getAssets() { return null; }
  public android.content.res.Resources getResources() { return null; }
  public ContentResolver getContentResolver() { return null; }
}

android.app.Activity class extends android.content.Context {
  public static final int RESULT_OK = -1;
  protected void onCreate(android.os.Bundle saved) {}
  protected void onSaveInstanceState(android.os.Bundle state) {}
  protected void onDestroy() {}
  protected void onActivityResult(int request, int result, android.content.Intent data) {}
  public void startActivityForResult(android.content.Intent intent, int request) {}
  public void setContentView(android.view.View view) {}
  public final void runOnUiThread(Runnable action) {}
}

android.graphics.Matrix class { public boolean postRotate(float degrees) { return true; } }

android.graphics.Bitmap class {
  public enum Config { ARGB_8888 }
  public static Bitmap createBitmap(int[] colours, int width, int height, Config config) { return null; }
  public static Bitmap createBitmap(Bitmap source, int x, int y, int width, int height) { return null; }
  public static Bitmap createBitmap(Bitmap source, int x, int y, int width, int height, Matrix turn, boolean filter) { return null; }
  public static Bitmap createScaledBitmap(Bitmap source, int width, int height, boolean filter) { return null; }
  public int getWidth() { return 0; }
  public int getHeight() { return 0; }
  public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {}
}

android.graphics.Rect class {}

android.graphics.BitmapFactory class {
  public static class Options { public boolean inJustDecodeBounds; public int inSampleSize, outWidth, outHeight; }
  public static Bitmap decodeStream(java.io.InputStream in, android.graphics.Rect padding, Options options) { return null; }
}

android.media.ExifInterface class {
  public static final String TAG_ORIENTATION = "Orientation";
  public static final int ORIENTATION_NORMAL = 1, ORIENTATION_ROTATE_180 = 3, ORIENTATION_ROTATE_90 = 6, ORIENTATION_ROTATE_270 = 8;
  public ExifInterface(java.io.InputStream in) {}
  public int getAttributeInt(String tag, int otherwise) { return otherwise; }
}

android.view.View class {
  public interface OnClickListener { void onClick(View view); }
  public void setPadding(int left, int top, int right, int bottom) {}
  public void setContentDescription(CharSequence text) {}
  public CharSequence getContentDescription() { return null; }
  public void setOnClickListener(OnClickListener listener) {}
  public void setFitsSystemWindows(boolean value) {}
  public boolean getFitsSystemWindows() { return false; }
}

android.view.ViewGroup class extends View {
  public static class LayoutParams { public static final int MATCH_PARENT = -1, WRAP_CONTENT = -2; }
  public void addView(View view) {}
  public void addView(View view, LayoutParams how) {}
}

android.widget.LinearLayout class extends android.view.ViewGroup {
  public static final int VERTICAL = 1;
  public static class LayoutParams extends android.view.ViewGroup.LayoutParams { public LayoutParams(int width, int height) {} }
  public LinearLayout(android.content.Context context) {}
  public void setOrientation(int value) {}
  public int getOrientation() { return 0; }
}

android.widget.ScrollView class extends android.view.ViewGroup { public ScrollView(android.content.Context context) {} }

android.widget.TextView class extends android.view.View {
  public TextView(android.content.Context context) {}
  public void setText(CharSequence text) {}
  public CharSequence getText() { return null; }
}

android.widget.Button class extends TextView { public Button(android.content.Context context) { super(context); } }

android.widget.ImageView class extends android.view.View {
  public enum ScaleType { FIT_CENTER }
  public ImageView(android.content.Context context) {}
  public void setAdjustViewBounds(boolean value) {}
  public boolean getAdjustViewBounds() { return false; }
  public void setScaleType(ScaleType type) {}
  public ScaleType getScaleType() { return null; }
  public void setImageBitmap(android.graphics.Bitmap bitmap) {}
}

android.widget.Adapter interface {}

android.widget.SpinnerAdapter interface extends Adapter {}

android.widget.ArrayAdapter<T> class implements SpinnerAdapter {
  public ArrayAdapter(android.content.Context context, int layout, java.util.List<T> values) {}
}

android.widget.AdapterView<T> class extends android.view.ViewGroup {
  public interface OnItemSelectedListener {
    void onItemSelected(AdapterView<?> parent, android.view.View view, int position, long id);
    void onNothingSelected(AdapterView<?> parent);
  }
  public void setOnItemSelectedListener(OnItemSelectedListener listener) {}
  public final OnItemSelectedListener getOnItemSelectedListener() { return null; }
}

android.widget.Spinner class extends AdapterView<SpinnerAdapter> {
  public Spinner(android.content.Context context) {}
  public void setAdapter(SpinnerAdapter adapter) {}
  public SpinnerAdapter getAdapter() { return null; }
}

android.widget.SeekBar class extends android.view.View {
  public interface OnSeekBarChangeListener {
    void onProgressChanged(SeekBar bar, int progress, boolean fromUser);
    void onStartTrackingTouch(SeekBar bar);
    void onStopTrackingTouch(SeekBar bar);
  }
  public SeekBar(android.content.Context context) {}
  public void setMax(int value) {}
  public int getMax() { return 0; }
  public void setProgress(int value) {}
  public int getProgress() { return 0; }
  public void setOnSeekBarChangeListener(OnSeekBarChangeListener listener) {}
}

android.R class { public static class layout { public static final int simple_spinner_dropdown_item = 1; } }

"""

# Draws with the app's class Network; it is put into the app's package.
DRAW = """
package pggan.app

fun main() {
    val network = Network(android.content.res.AssetManager())
    val input = com.google.ai.edge.litert.Check.lines
    while (input.hasNextLine()) {
        val words = input.nextLine().split(" ")
        @CALL@
        println("drawn " + colours.joinToString(" "))
        check(com.google.ai.edge.litert.TensorBuffer.open == 0) { "buffers are left" }
    }
}
"""
FACES = """val stage = Facts.SIGNATURES.first { it.name == words[0] }
        val colours = network.draw(stage, words[1].toLong(), words[2].toFloat(), words[3].toInt())"""
PHOTO = """val colours = network.convert(IntArray(words.size) { words[it].toInt() })"""


def find_compiler() -> list[str] | None:
    """Return the command that compiles Kotlin: kotlinc, or the compiler that Kotlin's kernel for notebooks brings."""
    if shutil.which("kotlinc"):
        return ["kotlinc"]
    found = importlib.util.find_spec("run_kotlin_kernel")
    if not found or not shutil.which("java"):
        return None
    (jar,) = Path(found.origin).parent.glob("jars/kotlin-jupyter-kernel-*-all.jar")
    return [
        "java",
        "-Xmx1g",
        "-cp",
        str(jar),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        "-no-stdlib",
        "-no-reflect",
    ]


def find_library() -> list[str]:
    """Return the file of Kotlin's standard library, where the compiler does not bring it by itself."""
    found = importlib.util.find_spec("run_kotlin_kernel")
    return [str(p) for p in Path(found.origin).parent.glob("jars/kotlin-stdlib-*.jar")] if found else []


def compile_stubs(folder: Path) -> Path:
    """Compile the stand-ins and return the folder of their classes."""
    sources, classes = folder / "sources", folder / "stubs"
    for name, kind, body in re.findall(r"^([\w.<>]+) ((?:interface|class|enum)[^{]*)(\{.*?\})\n\n", STUBS, re.M | re.S):
        package, _, word = name.rpartition(".")
        what, _, more = kind.strip().partition(" ")
        path = sources / Path(*package.split(".")) / f"{word.partition('<')[0]}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {package};\npublic {what} {word} {more} {body}\n")
    subprocess.run(["javac", "-nowarn", "-d", classes, *sources.rglob("*.java")], check=True, capture_output=True)
    return classes


def compile_project(project: Path, stubs: Path, folder: Path, faces: bool) -> list[str]:
    """Compile the Kotlin of a project and return the command that draws with it; warnings are errors."""
    folder.mkdir()
    draw, classes, library = folder / "Draw.kt", folder / "classes", find_library()
    draw.write_text(DRAW.replace("@CALL@", FACES if faces else PHOTO))
    sources = sorted(map(str, (project / "app/src/main/kotlin").rglob("*.kt")))
    path = ":".join([str(stubs), *library])
    words = [*find_compiler(), "-Werror", "-jvm-target", "17", "-cp", path, "-d", str(classes), *sources, str(draw)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["java", "-cp", f"{classes}:{path}", "pggan.app.DrawKt"]


def draw(command: list[str], line: str, run, shapes: dict) -> tuple[np.ndarray, dict]:
    """Return the colours, uint32, that the app makes of a line, and what it has given to the network.

    Args:
        command: as `compile_project` returns it.
        line: what the app is asked for.
        run: as `litert.Runner`.
        shapes: shapes of a signature's inputs, by the names of both.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        _, name, *words = process.stdout.readline().split()
        found = zip(words[::3], words[1::3], words[2::3])
        inputs = {n: np.frombuffer(base64.b64decode(data), kind).reshape(shapes[name][n]) for n, kind, data in found}
        answer = base64.b64encode(run(name, inputs).tobytes()).decode()
        said, _ = process.communicate(answer + "\n", timeout=60)
    assert process.returncode == 0
    return np.array(said.split()[1:], np.int64).astype(np.uint32), inputs
