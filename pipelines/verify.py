"""placeholder"""


def main(argv=None):
    return {}
