"""Building for the fused engine: our own kernels, compiled for a compute capability and chosen by their times."""
