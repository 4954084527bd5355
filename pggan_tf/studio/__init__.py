"""The server of `pggan studio`: photos, training, playing and comparing in one window.

Words in these modules:

- store: the folder `.studio` in the folder of runs, with everything that the studio keeps.
- folder: a folder of photos that the user has opened, with what is known about its photos.
- wish: what the user wants to train, as the page sends it.
- entry: a wish, or a run to go on with, that waits in the queue or is being trained.
- worker: the process that trains the entries of the queue, one after the other. It survives the
  server.
- helper: a process of the server that has imported TensorFlow, and ends when it is not used.
- job: work in a helper that takes longer than an answer may.

The state is files alone: runs, and the store. Whoever opens the studio again finds everything.
"""
