"""Write an Android app (.apk) that shows an exported web page, without Android's SDK.

An .apk is a zip archive with these entries, and a block of signatures before its directory:

- AndroidManifest.xml: what the app is called, which screens it has, what it asks for (`axml`,
  `manifest`). It is XML in a binary form.
- resources.arsc: a table of values by their numbers: label, colours, themes, icons (`resources`).
- classes.dex: code of the app's screen. Its source is in the folder app/; `assemble` rebuilds it.
- res/: the pictures of the icon (`icons`).
- assets/: the page, as `export.web` writes it.

`archive` writes the zip archive, `signing` the signatures with a key of `keys`, `build` all of it.
"""
