"""Data for training: decode photos, store images as shards (`.npz`), and read them in batches."""
