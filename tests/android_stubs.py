"""The classes of android.* that the app's code uses, as small ones for a JVM, which write down what was asked of them.

enjarify turns classes.dex into a jar; `Check` below asks it what a phone would ask, by lines of its standard input.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

# Each class is its name, what it is, and its body, whose last brace stands at the beginning of a line or at its end. What was
# asked of them goes to android.content.Log.
STUBS = r"""
android.os.Bundle class {}
android.os.Parcelable interface {}
android.os.Build class { public static class VERSION { public static int SDK_INT = 36; } }
android.os.ParcelFileDescriptor class {
  public static java.io.File last;
  public static ParcelFileDescriptor open(java.io.File file, int mode) throws java.io.FileNotFoundException {
    if (mode != 0x10000000) throw new IllegalArgumentException("mode " + mode);
    if (!file.isFile()) throw new java.io.FileNotFoundException(file.toString());
    last = file;
    return new ParcelFileDescriptor();
  }
}
android.util.Base64 class {
  public static byte[] decode(String text, int flags) { return java.util.Base64.getDecoder().decode(text); }
}
android.net.Uri class implements android.os.Parcelable {
  public final java.net.URI uri;
  public Uri(String text) { uri = java.net.URI.create(text); }
  public String getScheme() { return uri.getScheme(); }
  public String getAuthority() { return uri.getAuthority(); }
  public String getPath() { return uri.getPath(); }
  public String getLastPathSegment() {
    String[] parts = uri.getRawPath().split("/");
    return parts.length == 0 ? null : java.net.URLDecoder.decode(parts[parts.length - 1], java.nio.charset.StandardCharsets.UTF_8);
  }
  public String toString() { return uri.toString(); }
  public static class Builder {
    String scheme, authority, path = "";
    public Builder scheme(String value) { scheme = value; return this; }
    public Builder authority(String value) { authority = value; return this; }
    public Builder appendPath(String value) { path += "/" + java.net.URLEncoder.encode(value, java.nio.charset.StandardCharsets.UTF_8).replace("+", "%20"); return this; }
    public Uri build() { return new Uri(scheme + "://" + authority + path); }
  }
}
android.content.ActivityNotFoundException class extends RuntimeException {}
android.content.ContentValues class {
  public final java.util.TreeMap<String, String> values = new java.util.TreeMap<>();
  public void put(String key, String value) { values.put(key, value); }
}
android.content.ContentResolver class {
  public java.io.File target = new java.io.File("saved.png");
  public boolean full;
  public android.net.Uri insert(android.net.Uri place, ContentValues values) { Log.add("insert " + place + " " + values.values); return new android.net.Uri(place + "/7"); }
  public java.io.OutputStream openOutputStream(android.net.Uri uri) throws java.io.FileNotFoundException {
    Log.add("write " + uri);
    if (full) throw new java.io.FileNotFoundException("full");
    return new java.io.FileOutputStream(target);
  }
  public int delete(android.net.Uri uri, String where, String[] values) { Log.add("delete " + uri); return 1; }
}
android.content.Log class {
  public static final java.util.List<String> lines = new java.util.ArrayList<>();
  public static void add(String line) { lines.add(line); }
}
android.content.Context class {
  public final ContentResolver resolver = new ContentResolver();
  public android.content.res.AssetManager getAssets() { return new android.content.res.AssetManager(); }
  public java.io.File getCacheDir() { return new java.io.File("cache"); }
  public String getPackageName() { return "pggan.test"; }
  public ContentResolver getContentResolver() { return resolver; }
  public java.util.Set<String> granted = new java.util.HashSet<>();
  public int checkSelfPermission(String name) { return granted.contains(name) ? 0 : -1; }
}
android.content.Intent class {
  String action; Object inner; public android.net.Uri data;
  java.util.TreeMap<String, Object> more = new java.util.TreeMap<>();
  public Intent(String action) { this.action = action; }
  public Intent addCategory(String value) { more.put("category", value); return this; }
  public Intent setType(String value) { more.put("type", value); return this; }
  public Intent putExtra(String key, String value) { more.put(key, value); return this; }
  public Intent putExtra(String key, android.os.Parcelable value) { more.put(key, value); return this; }
  public Intent addFlags(int flags) { more.put("flags", flags); return this; }
  public android.net.Uri getData() { return data; }
  public static Intent createChooser(Intent intent, CharSequence title) { Intent out = new Intent("chooser"); out.more.put("of", intent); return out; }
  public String toString() { return action + " " + more; }
}
android.content.ContentProvider class {
  public static Context context;
  public Context getContext() { return context; }
}
android.content.res.AssetManager class {
  public static java.io.File root;
  public java.io.InputStream open(String name) throws java.io.IOException { android.content.Log.add("asset " + name); return new java.io.FileInputStream(new java.io.File(root, name)); }
}
android.database.Cursor interface {}
android.database.MatrixCursor class implements Cursor {
  public final String[] columns; public Object[] row;
  public MatrixCursor(String[] columns) { this.columns = columns; }
  public void addRow(Object[] row) { this.row = row; }
}
android.provider.MediaStore class { public static class Images { public static class Media {
  public static final android.net.Uri EXTERNAL_CONTENT_URI = new android.net.Uri("content://media/external/images/media");
} } }
android.window.OnBackInvokedCallback interface { void onBackInvoked(); }
android.window.OnBackInvokedDispatcher interface { void registerOnBackInvokedCallback(int priority, OnBackInvokedCallback callback); }
android.view.ViewParent interface {}
android.view.View class {
  public ViewParent parent;
  public ViewParent getParent() { return parent; }
  public void setFitsSystemWindows(boolean on) { android.content.Log.add("fits " + on); }
}
android.view.ViewGroup class extends View implements ViewParent {
  public void addView(View view) { view.parent = this; }
  public void removeView(View view) { view.parent = null; android.content.Log.add("removed"); }
}
android.widget.FrameLayout class extends android.view.ViewGroup { public FrameLayout(android.content.Context context) {} }
android.widget.Toast class {
  String text;
  public static Toast makeText(android.content.Context context, CharSequence text, int length) { Toast out = new Toast(); out.text = "" + text; return out; }
  public void show() { android.content.Log.add("toast " + text); }
}
android.app.Activity class extends android.content.Context {
  public android.window.OnBackInvokedCallback back;
  public boolean alone; // no other app is on the phone
  protected void onCreate(android.os.Bundle state) {}
  protected void onSaveInstanceState(android.os.Bundle state) {}
  protected void onDestroy() {}
  protected void onActivityResult(int code, int result, android.content.Intent data) {}
  public void setContentView(android.view.View view) { android.content.Log.add("shown " + view.getClass().getSimpleName()); }
  public android.window.OnBackInvokedDispatcher getOnBackInvokedDispatcher() { return (priority, callback) -> back = callback; }
  public boolean moveTaskToBack(boolean always) { android.content.Log.add("left " + always); return true; }
  public void startActivityForResult(android.content.Intent intent, int code) {
    if (alone) throw new android.content.ActivityNotFoundException();
    android.content.Log.add("start " + code + " " + intent);
  }
  public void requestPermissions(String[] names, int code) { android.content.Log.add("ask " + String.join(" ", names)); }
  public void runOnUiThread(Runnable work) { work.run(); }
}
android.webkit.JavascriptInterface @interface {}
android.webkit.ValueCallback interface<T> { void onReceiveValue(T value); }
android.webkit.WebBackForwardList class {}
android.webkit.WebSettings class {
  public void setJavaScriptEnabled(boolean on) { android.content.Log.add("scripts " + on); }
  public void setDomStorageEnabled(boolean on) {}
  public void setAllowFileAccess(boolean on) { android.content.Log.add("files " + on); }
  public void setMediaPlaybackRequiresUserGesture(boolean on) {}
}
android.webkit.WebResourceRequest interface { android.net.Uri getUrl(); }
android.webkit.WebResourceResponse class {
  public final String type, encoding, reason; public final int status; public final java.util.Map<String, String> headers; public final java.io.InputStream data;
  public WebResourceResponse(String type, String encoding, int status, String reason, java.util.Map<String, String> headers, java.io.InputStream data) {
    this.type = type; this.encoding = encoding; this.status = status; this.reason = reason; this.headers = headers; this.data = data;
  }
}
android.webkit.WebViewClient class {
  public WebResourceResponse shouldInterceptRequest(WebView view, WebResourceRequest request) { return null; }
  public boolean shouldOverrideUrlLoading(WebView view, WebResourceRequest request) { return false; }
}
android.webkit.PermissionRequest class {
  public String origin; public String[] resources;
  public android.net.Uri getOrigin() { return new android.net.Uri(origin); }
  public String[] getResources() { return resources; }
  public void grant(String[] what) { android.content.Log.add("grant " + String.join(" ", what)); }
  public void deny() { android.content.Log.add("deny"); }
}
android.webkit.WebChromeClient class {
  public boolean onShowFileChooser(WebView view, ValueCallback<android.net.Uri[]> files, FileChooserParams how) { return false; }
  public void onPermissionRequest(PermissionRequest request) {}
  public void onPermissionRequestCanceled(PermissionRequest request) {}
  public static class FileChooserParams {
    public android.content.Intent createIntent() { return new android.content.Intent("choose"); }
    public static android.net.Uri[] parseResult(int result, android.content.Intent data) { return result == -1 ? new android.net.Uri[] { data.getData() } : null; }
  }
}
android.webkit.WebView class extends android.view.View {
  public static WebView last; public static boolean restores = true;
  public WebViewClient client; public WebChromeClient chrome; public Object bridge; public boolean deep;
  public WebView(android.content.Context context) { last = this; }
  public void setBackgroundColor(int colour) {}
  public WebSettings getSettings() { return new WebSettings(); }
  public void setWebViewClient(WebViewClient value) { client = value; }
  public void setWebChromeClient(WebChromeClient value) { chrome = value; }
  public void addJavascriptInterface(Object value, String name) { bridge = value; android.content.Log.add("bridge " + name); }
  public void loadUrl(String url) { android.content.Log.add("load " + url); }
  public WebBackForwardList restoreState(android.os.Bundle state) { android.content.Log.add("restore"); return restores ? new WebBackForwardList() : null; }
  public WebBackForwardList saveState(android.os.Bundle state) { android.content.Log.add("state kept"); return null; }
  public boolean canGoBack() { return deep; }
  public void goBack() { android.content.Log.add("back in the page"); deep = false; }
  public void destroy() { android.content.Log.add(parent == null ? "destroyed" : "destroyed while shown"); }
}
"""

# Reads lines such as `ask https://...`, does each, and prints what it gave and what happened, between lines of "==".
CHECK = r"""
import android.content.*; import android.net.Uri; import android.webkit.*; import java.lang.reflect.*;
public class Check {
  static Object call(Object on, String name, Object... values) throws Throwable {
    for (Class<?> c = on.getClass(); c != null; c = c.getSuperclass())
      for (Method m : c.getDeclaredMethods())
        if (m.getName().equals(name) && m.getParameterCount() == values.length) {
          m.setAccessible(true);
          try { return m.invoke(on, values); } catch (InvocationTargetException error) { throw error.getCause(); }
        }
    throw new NoSuchMethodException(name);
  }
  static PermissionRequest request(String origin, String what) {
    PermissionRequest out = new PermissionRequest(); out.origin = origin; out.resources = what.split(","); return out;
  }
  public static void main(String[] words) throws Throwable {
    android.content.res.AssetManager.root = new java.io.File(words[0]);
    android.app.Activity main = (android.app.Activity) Class.forName("pggan.app.Main").getDeclaredConstructor().newInstance();
    Object provider = Class.forName("pggan.app.Pictures").getDeclaredConstructor().newInstance();
    ContentProvider.context = main;
    PermissionRequest asked = null;
    java.io.BufferedReader in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      String[] w = line.split(" ");
      WebView web = WebView.last;
      Object out = null;
      try { switch (w[0]) {
        case "api": android.os.Build.VERSION.SDK_INT = Integer.parseInt(w[1]); break;
        case "create": call(main, "onCreate", (Object) null); break;
        case "again": WebView.restores = w[1].equals("kept"); call(main, "onCreate", new android.os.Bundle()); break;
        case "keep": call(main, "onSaveInstanceState", new android.os.Bundle()); break;
        case "destroy": call(main, "onDestroy"); break;
        case "deep": web.deep = true; break;
        case "back": if (main.back != null && android.os.Build.VERSION.SDK_INT >= 36) main.back.onBackInvoked(); else call(main, "onBackPressed"); break;
        case "get": {
          WebResourceResponse r = web.client.shouldInterceptRequest(web, () -> new Uri(w[1]));
          if (r == null) { out = "null"; break; }
          byte[] data = r.data.readAllBytes();
          byte[] hash = java.security.MessageDigest.getInstance("SHA-256").digest(data);
          out = r.status + " " + r.type + " " + r.encoding + " " + java.util.HexFormat.of().formatHex(hash);
          break;
        }
        case "link": out = web.client.shouldOverrideUrlLoading(web, () -> new Uri(w[1])); break;
        case "alone": main.alone = w[1].equals("true"); break;
        case "full": main.resolver.full = w[1].equals("true"); break;
        case "files": out = web.chrome.onShowFileChooser(web, f -> Log.add("file " + (f == null ? "none" : f[0])), new WebChromeClient.FileChooserParams()); break;
        case "result": {
          Intent data = null;
          if (w.length > 3) { data = new Intent(""); data.data = new Uri(w[3]); }
          call(main, "onActivityResult", Integer.parseInt(w[1]), Integer.parseInt(w[2]), data);
          break;
        }
        case "camera": web.chrome.onPermissionRequest(asked = request(w[1], w[2])); break;
        case "cancel": web.chrome.onPermissionRequestCanceled(asked); break;
        case "allow": main.granted.add("android.permission.CAMERA"); call(main, "onRequestPermissionsResult", 3, new String[1], new int[] { 0 }); break;
        case "forbid": call(main, "onRequestPermissionsResult", 3, new String[1], new int[] { -1 }); break;
        case "ignore": call(main, "onRequestPermissionsResult", 3, new String[0], new int[0]); break;
        case "begin": call(web.bridge, "begin", line.substring(6)); break;
        case "add": call(web.bridge, "add", w[1]); break;
        case "save": call(web.bridge, "save"); break;
        case "share": call(web.bridge, "share"); break;
        case "read": call(provider, "openFile", new Uri(w[1]), "rw"); out = android.os.ParcelFileDescriptor.last.getPath(); break;
        case "query": {
          android.database.MatrixCursor c = (android.database.MatrixCursor) call(provider, "query", new Uri(w[1]), null, null, null, null);
          out = String.join(" ", c.columns) + " " + java.util.Arrays.toString(c.row);
          break;
        }
        default: throw new IllegalArgumentException(line);
      } } catch (Throwable error) { out = error.getClass().getSimpleName() + " " + error.getMessage(); }
      if (out != null) Log.add("= " + out);
      System.out.println(String.join("\n", Log.lines) + "\n==");
      Log.lines.clear();
    }
  }
}
"""


def write_stubs(folder: Path) -> None:
    """Write the Java sources."""
    for name, kind, body in re.findall(
        r"^(android\.[\w.]+) ((?:@interface|interface|class)[^{]*)(\{.*?\})(?=\n(?:android|\Z)|\n$)", STUBS, re.M | re.S
    ):
        package, _, word = name.rpartition(".")
        head, generic = kind.strip(), ""
        if head.endswith("<T>"):
            head, generic = head.removesuffix("<T>"), "<T>"
        what, _, more = head.partition(" ")
        path = folder / Path(*package.split(".")) / f"{word}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {package};\npublic {what} {word}{generic} {more} {body}\n")
    (folder / "Check.java").write_text(CHECK)


def compile_app(dex: Path, folder: Path) -> list[str]:
    """Return the command that runs `Check` with the app's code.

    Args:
        dex: classes.dex.
        folder: an empty folder to work in.
    """
    jar, sources, classes = folder / "app.jar", folder / "sources", folder / "classes"
    # enjarify is a module of Debian's own Python.
    environment = {"PATH": "/usr/bin:/bin"}
    subprocess.run([shutil.which("enjarify"), "-o", jar, dex], check=True, env=environment, capture_output=True)
    write_stubs(sources)
    subprocess.run(["javac", "-nowarn", "-d", classes, *sources.rglob("*.java")], check=True)
    return ["java", "-cp", f"{classes}:{jar}", "Check"]


class Phone:
    """The app on a JVM. work: a folder for the files that it writes."""

    def __init__(self, command: list[str], assets: Path, work: Path):
        self._process = subprocess.Popen(
            [*command, str(assets)], cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: str) -> list[str]:
        """Do something, and return the lines that tell what happened."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) not in ("==\n", ""):
            lines.append(line.rstrip("\n"))
        assert line, "the JVM has ended"
        return [line for line in lines if line]

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
