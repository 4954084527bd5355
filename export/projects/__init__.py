"""Write small projects for Android Studio and Xcode, with an exported network inside.

A project is a folder of sources that a person opens, reads and changes. Its files are those of
android/ or ios/ here: of `common` and, by the task of the network, of `faces` (a generator of
latents) or `photo` (a network that takes photos). Words between two @ in them are replaced. What
the sources have to know about the network (`facts`) comes from the signatures of its file.
"""

from __future__ import annotations

ANDROID, IOS = "android-project", "ios-project"
FORMATS = (ANDROID, IOS)
