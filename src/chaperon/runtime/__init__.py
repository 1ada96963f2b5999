"""The only code that touches a socket: listener, driver, dialling, supervisor."""
