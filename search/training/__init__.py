"""What all trainings share: the loop, recipes, optimizers, averaged weights and accuracy."""
