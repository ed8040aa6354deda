"""The equations of the paper: superkernels, the supernet, its runtime loss and thresholds, and the decode."""
