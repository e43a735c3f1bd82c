"""The catalogue: products on disk and the snapshots derived from them."""
