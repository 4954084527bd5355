"""Prepare images as shards. `cache.open_shards` opens any source as shards for training."""
