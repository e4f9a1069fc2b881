"""What tests share, a module a subject."""
