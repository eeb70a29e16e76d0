"""Decisions of outlets: form and signature of webhooks, and the order of deliveries."""
