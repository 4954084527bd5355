"""Explore a generator's latent space: videos of latent walks, and projection of photos."""
