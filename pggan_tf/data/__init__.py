"""Data for training: decode photos, store images as shards, and read them in batches."""
