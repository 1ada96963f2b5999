"""The sans-io kernel: events, commands, permits, errors. No asyncio, clock or randomness."""
