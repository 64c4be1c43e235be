"""The user's own images: a local repository for each name that was pulled, tagged, loaded or built."""
