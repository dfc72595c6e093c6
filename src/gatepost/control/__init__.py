"""One set of operations (`ops`), and the faces over them: the command line (`shell`); later web and API."""
