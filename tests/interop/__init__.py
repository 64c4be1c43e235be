"""Real clients against a running registry: docker, podman, buildah, skopeo, containerd's ctr, umoci.

No container is ever run: images are built in memory (``entrepot.testing.images``), loaded into each client, pushed,
removed, pulled back and compared. ``ENTREPOT_INTEROP_PEER=docker-registry`` runs the same tests against Debian's
docker-registry, to tell a client's behaviour from ours; ``ENTREPOT_INTEROP_STRICT=1`` fails instead of skipping when a
client is missing.
"""
