"""Photos, folders of them and videos through a trained network."""
