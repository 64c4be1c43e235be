"""Words of the HTTP protocol that server and client share: routes, headers, errors. No I/O."""
