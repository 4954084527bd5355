"""Images on disk and in memory: photos in, shards between, batches out."""
