"""Pages about runs: report.html of one run, and one page that compares several.

Everything comes from the files in a run's folder; only `pictures` loads a generator.
"""

NAME = "report.html"  # the report's file in a run's folder
