"""PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2 (manual, chapter "Frontend/Backend Protocol")."""
