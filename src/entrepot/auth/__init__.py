"""Identity. Challenges, scopes, the client's way to a token, and where credentials are kept."""
