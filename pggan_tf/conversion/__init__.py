"""Conversion of photos, folders of photos and videos with a trained network."""
