"""Runs the AWS CLI for whoever asks, in a process of its own each time.

Starting Python and reading what all services are called takes a second; a page has hundreds of commands. So one
process reads it once, and each command is a fork of it.

  cli.py serve SOCKET       serves until standard input ends
  cli.py SOCKET ARGUMENT…   runs one command, with this process' files, folder and environment
"""
import array
import json
import os
import socket
import sys
import time

nap, longest = time.sleep, 1  # second


def receive(conn):
    text, fds = b"", array.array("i")
    while not text.endswith(b"\n"):
        part, more, _, _ = conn.recvmsg(65536, socket.CMSG_SPACE(3 * fds.itemsize))
        if not part:
            return None, []
        text += part
        for level, kind, data in more:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return json.loads(text), list(fds)


def command(asked, fds):
    for to, fd in enumerate(fds):
        os.dup2(fd, to)
    os.chdir(asked["dir"])
    data = os.environ["AWS_DATA_PATH"]  # awscli has set it
    os.environ.clear()
    os.environ.update(asked["env"], AWS_DATA_PATH=data)
    sys.argv = ["aws"] + asked["args"]
    time.sleep = lambda seconds: nap(min(seconds, longest))  # of aws … wait: AWS takes minutes, and fakes don't
    from awscli.clidriver import main

    try:
        code = main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def serve(at):
    import signal
    from awscli import clidriver

    clidriver.disable_crt_logging = lambda: None  # a thread of it does not survive a fork, and it would wait for that
    null = os.open(os.devnull, os.O_WRONLY)
    kept = os.dup(1)
    os.dup2(null, 1)
    clidriver.create_clidriver().main(["elasticache", "describe-events", "--generate-cli-skeleton", "output"])  # reads what all need
    sys.stdout.flush()
    os.dup2(kept, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(at)
    listener.listen(64)
    if os.fork() == 0:
        sys.stdin.read()  # it ends with whoever started this
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(0)
    print("ready", flush=True)
    while True:
        conn, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            code = 1
            asked, fds = receive(conn)
            try:
                code = command(asked, fds)
            finally:
                conn.sendall(b"%d\n" % (code & 255))
                os._exit(0)
        conn.close()


def ask(at, args):
    with socket.socket(socket.AF_UNIX) as conn:
        conn.connect(at)
        text = json.dumps({"args": args, "dir": os.getcwd(), "env": dict(os.environ)}).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        sent = conn.sendmsg([text], rights)
        conn.sendall(text[sent:])
        said = conn.makefile().read()
        return int(said) if said else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
