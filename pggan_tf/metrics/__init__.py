"""One module per metric. Features, statistics and metric are separate steps."""
