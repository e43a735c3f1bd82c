"""From a float model to INT8: calibration data, ranges, smoothing, what stays in float, and the gate."""
