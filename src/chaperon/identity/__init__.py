"""Who is on the other side: principals, gateway tokens, and the proof of holding one."""
