"""Everything before shards. `shards_for` is how training gets any source as shards."""
