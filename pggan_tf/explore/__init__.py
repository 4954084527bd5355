"""Explore a generator's latents: walks between them as videos, and the one nearest to a photo."""
