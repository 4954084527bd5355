"""Sources of images. Each module has `open(location, size, ...)` and yields decoded squares; see `prepare`."""
