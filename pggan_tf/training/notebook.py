"""Show the progress of training in a notebook, such as Jupyter or Colab."""

from __future__ import annotations

import html
import sys
from pathlib import Path

from pggan_tf.training.callbacks import ProgressDisplay, grid_path


def is_notebook() -> bool:
    """Tell whether this code runs in a notebook, whose cells show HTML and pictures."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookDisplay(ProgressDisplay):
    """Shows a progress bar in the output of a cell, and below it the newest grid.

    Both are replaced as the training goes on, so that the output stays short. Lines of the log are
    printed below them, as without a notebook.
    """

    def __init__(self, log):
        super().__init__(log, interactive=False)

    def begin(self, run):
        """Show an empty bar, and room for the grid."""
        from IPython import display

        super().begin(run)
        self.html, self.picture = display.HTML, display.Image
        self.last = run.phases[-1].end  # images of the whole plan
        self.line = display.display(self.html(self._draw_bar(run, "")), display_id=True)
        self.grid = display.display(self.html(""), display_id=True)

    def _draw_bar(self, run, text: str) -> str:
        """Return the progress bar as HTML, with a line of text."""
        label = html.escape(f"{run.phase.name}: {text}" if text else run.phase.name)
        return f'<progress value="{run.images_seen}" max="{self.last}" style="width: 24em"></progress><br>{label}'

    def step(self, run, stats):
        """Redraw the bar."""
        self.stats = stats
        self.line.update(self.html(self._draw_bar(run, self._format_line(run, stats))))

    def snapshot(self, run):
        """Show the grid that has just been written."""
        path = grid_path(run.folder, run.snapshot_number(run.images_seen), run.phase.resolution, run.images_seen)
        if Path(path).is_file():
            self.grid.update(self.picture(filename=str(path)))
