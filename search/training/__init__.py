"""What every training shares: the loop, recipes, optimizers, averaged weights and accuracy."""
