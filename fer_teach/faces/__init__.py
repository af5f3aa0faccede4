"""Rendered faces: a CC0 head, expressions as action units, a renderer, a sampling plan and exact labels."""
