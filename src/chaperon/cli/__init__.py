"""The command line. Imports nothing heavy before a command runs."""
