"""Facts about bytes: names, links, manifests, tags, uploads. ``base`` is the contract.

What can be asked and changed is in ``blobs``, ``manifests``, ``uploads``, ``listings`` and ``leases``: generators that
yield statements and are sent their rows. ``sqlite`` runs them; it knows none of their meaning.
"""
