"""Files of a directory as responses: names, ranges, conditions, types, listings, and opening without escape.

No socket, no trio, no clock. ``blitz/server/static_files.py`` gives it threads and a memory, and
``blitz/server/send_file.py`` sends.
"""
