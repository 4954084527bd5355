"""The documentation: pages for MkDocs, and the scripts that make their tables and pictures."""
