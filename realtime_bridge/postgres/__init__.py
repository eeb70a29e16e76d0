"""The log in PostgreSQL: its schema, and what joins the caller's own transactions."""
