"""What a server or a load did wrong: it ends that server's part of a scene, not the whole run."""


class Failed(Exception):
    pass
