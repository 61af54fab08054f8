"""What operators see of a running gateway: is it alive, is it ready, what is it doing."""
