"""What a stranger checks of a lock: its history in git, what was made under it, and what can be made again."""
