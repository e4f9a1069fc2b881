"""The command lossk: what it prints, measures and draws."""
