"""The process of a helper.

It is started as `python -m pggan_tf.studio.helper`. It reads a request in each line of standard
input, {id, verb, args}, and writes {id, progress}, {id, result} or {id, error, status} in a line of
standard output. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback

from pggan_tf.studio.refusal import as_refusal

# verb -> module and function, which takes (args, progress); modules are imported when first used
VERBS = {
    "plan": "pggan_tf.studio.planning:plan",
    "count": "pggan_tf.studio.planning:count_parameters",
    "look": "pggan_tf.studio.looking:look",
    "generator": "pggan_tf.studio.making:describe_generator",
    "faces": "pggan_tf.studio.making:draw_faces",
    "face": "pggan_tf.studio.making:draw_face",
    "sliders": "pggan_tf.studio.making:list_sliders",
    "strip": "pggan_tf.studio.making:draw_strip",
    "rename": "pggan_tf.studio.making:rename_slider",
    "convert": "pggan_tf.studio.making:convert",
    "nearest": "pggan_tf.studio.results:find_nearest",
    "walk": "pggan_tf.studio.results:make_walk",
    "project": "pggan_tf.studio.results:project",
    "export": "pggan_tf.studio.results:export",
}


def answer(request: dict, write) -> None:
    """Do what a request asks for, and write the answer.

    Args:
        request: {id, verb, args}.
        write: function that writes an object as a line.
    """
    from pggan_tf.errors import is_out_of_memory

    id = request["id"]

    def progress(done: int, total: int, text: str = "") -> None:
        write({"id": id, "progress": [int(done), int(total), text]})

    try:
        module, _, name = VERBS[request["verb"]].partition(":")
        result = getattr(importlib.import_module(module), name)(request["args"], progress)
        write({"id": id, "result": result})
    except Exception as error:
        refusal = as_refusal(error)
        if refusal is None:
            traceback.print_exc()
        if refusal:
            write({"id": id, "error": str(refusal), "status": refusal.status})
        elif is_out_of_memory(error):
            write({"id": id, "error": "out of memory. Ask for fewer or smaller images.", "status": 413})
        else:
            said = f"this did not work ({type(error).__name__}: {error}). More is in helper.log in the folder .studio."
            write({"id": id, "error": said, "status": 409})


def main() -> None:
    """Answer requests until the input ends."""
    with contextlib.suppress(OSError):
        os.nice(10)  # training goes first
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    sys.stdout = sys.stderr

    def write(content: dict) -> None:
        lines.write(json.dumps(content) + "\n")
        lines.flush()

    for line in sys.stdin:
        answer(json.loads(line), write)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
