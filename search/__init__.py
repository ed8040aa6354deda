"""From a latency table to a network: superkernels, the supernet and its training."""
