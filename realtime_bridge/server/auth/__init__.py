"""Identity and permission: tokens, signatures, origins, channel rules."""
