"""PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2 (its manual, chapter 54)."""
