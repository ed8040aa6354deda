"""A phone as a device: finding it, its state, its screen and storage, and what its benchmark tool prints."""
