"""Inference engines for ranking models: built offline, sealed, only loaded when serving."""
