"""The recipes that make the models of a release, each from committed seeds and generators."""
