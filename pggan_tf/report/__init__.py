"""HTML pages about runs: report.html for one run, and a page that compares several runs.

The content is read from the files in a run's folder; only `pictures` loads a generator.
"""

NAME = "report.html"  # file name of the report in a run's folder
