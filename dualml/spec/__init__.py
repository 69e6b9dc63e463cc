"""The spec: what a model, its data and its training are, in settings of the same names in YAML and Python."""
