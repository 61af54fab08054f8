module blitz.example/plugin

go 1.24
