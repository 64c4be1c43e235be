"""The HTTP client: one exchange (``base``), and the policy around it: addresses, logins, retries, redirects."""
