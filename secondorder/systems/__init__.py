"""One file a kind of scenario; ``registry`` finds them."""
