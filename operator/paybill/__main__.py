"""``python -m paybill`` is the ``paybill`` command."""

from paybill.cli.main import main

if __name__ == "__main__":
    main()
