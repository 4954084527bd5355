"""What setup.cfg cannot say: the long description, README.md with links that work on a package index."""

import configparser
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
# Targets of Markdown's links and pictures, and of HTML's.
LINK = re.compile(r"""(?P<before>\]\(|\b(?:src|href|srcset)=["'])(?P<target>[^)"'\s]+)""")
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4")


def write_absolute_links(text: str, source: str, version: str) -> str:
    """Make relative links of a Markdown text absolute.

    Args:
        text: the Markdown text, whose relative links start from the project's folder.
        source: address of the repository on GitHub.
        version: version of the package; links show files as they were at the tag `v{version}`.
    """

    def replace(match: re.Match) -> str:
        target = match["target"]
        if re.match(r"[a-z][a-z0-9+.-]*:|#|//", target):  # absolute already, or within the text
            return match[0]
        kind = "raw" if target.lower().endswith(PICTURES) else "blob"
        return f"{match['before']}{source}/{kind}/v{version}/{target.removeprefix('./')}"

    return LINK.sub(replace, text)


def read_long_description() -> str:
    """Return README.md with absolute links."""
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg", encoding="utf-8")
    addresses = dict(re.split(r"\s*=\s*", line) for line in metadata["metadata"]["project_urls"].split("\n") if line)
    version = re.search(r'__version__ = "(.+)"', (ROOT / "pggan_tf" / "version.py").read_text(encoding="utf-8"))
    return write_absolute_links((ROOT / "README.md").read_text(encoding="utf-8"), addresses["Source"], version[1])


if __name__ == "__main__":
    setup(long_description=read_long_description(), long_description_content_type="text/markdown")
