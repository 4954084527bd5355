"""A run's folder: what training writes, and how it is read again."""
