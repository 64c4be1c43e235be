"""The HTTP words that the server and the client both use."""
