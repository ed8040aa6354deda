"""From measurements to a runtime model: the store, the latency table, calibration and validation."""
