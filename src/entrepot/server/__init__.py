"""HTTP in front of a Registry: thin handlers, one for each address and method."""
