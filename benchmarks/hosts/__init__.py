"""Programs of hook.py: each runs the guest of the one-header job in another host, in a process of its own."""
