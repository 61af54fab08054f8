"""Every doubtful form of HTTP/1.1 that docs/http.md lists, and what is made of each."""
