"""The search: training the supernet, scoring networks with its weights, selecting and exploring."""
