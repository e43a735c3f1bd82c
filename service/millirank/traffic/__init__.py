"""What shoppers asked for: sampled while it is served, read again to calibrate and to profile engines."""
