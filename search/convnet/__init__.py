"""Networks in PyTorch: their layers, saved files, the zoo, and what a name on the command line refers to."""
