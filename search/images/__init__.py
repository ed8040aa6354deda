"""Images: bundled sets, folders and WebDataset shards, and the batches made of them."""
