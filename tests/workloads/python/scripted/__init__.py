"""The scripted model: what it answers (`script`), and how each API says it."""
