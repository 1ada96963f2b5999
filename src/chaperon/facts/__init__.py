"""What a statement does: text in, facts out. No I/O except the helper that reads large texts."""
