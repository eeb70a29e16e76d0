"""Values that every other part uses: events, positions, pages, receipts, names and ids."""
