"""Verbs that look at what was trained: walks through latents, stages, nearest photos, projections, reports."""
