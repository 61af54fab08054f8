"""Real clients, real sizes and real signals through a running gateway."""
