"""Client connections of every transport."""
