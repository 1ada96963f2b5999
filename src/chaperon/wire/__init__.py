"""The sans-io kernel: events, commands, permits, buffers, errors. No asyncio, clock or randomness."""
