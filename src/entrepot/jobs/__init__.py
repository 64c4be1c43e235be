"""Work in the background, and checks an operator starts."""
