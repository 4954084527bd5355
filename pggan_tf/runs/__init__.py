"""Write and read the folder of a run.

A run is one training of a generator. Its folder contains its options (config.json), the machine and
the data (environment.json), losses and metrics (stats.jsonl), checkpoints and, at the end, the
generator (generator.keras).
"""
