"""``dualml serve`` as a user types it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest


@pytest.fixture
def started(artefact):
    """Starts the command and waits for its address; ends it afterwards."""
    processes = []

    def start(*arguments, **environment):
        code = (
            f"import sys\nsys.argv = {['dualml', 'serve', str(artefact.path), '--port', '0', *map(str, arguments)]!r}\n"
        )
        code += "from dualml.cli.main import main\ntry:\n    main()\nfinally:\n"
        code += (
            "    print('IMPORTED', sorted({'torch', 'tensorflow', 'keras', 'onnx', 'sklearn', 'pandas', 'dualml.spec'}"
        )
        code += " & set(sys.modules)))\n"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        processes.append(process)
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        found = re.search(r"http://\S+", line)
        assert found, (line, process.communicate())
        return process, found.group()

    yield start
    for process in processes:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def get(address, **headers):
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_serves_until_a_signal_and_imports_no_framework(started, number):
    process, address = started()
    assert get(f"{address}/v2/models/small")["name"] == "small"
    process.send_signal(number)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
    assert process.stdout.read() == "Ctrl-C stops\nIMPORTED []\n"


def test_name_version_and_token(started, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    arguments = ["--name", "mine", "--model-version", "7", "--token-file", tmp_path / "token", "--max-rows", "3"]
    _, address = started(*arguments)
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    assert get(f"{address}/v2/models/mine/versions/7", **headers)["versions"] == ["7"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(f"{address}/v2/models/mine")


def test_a_token_from_the_environment(started):
    _, address = started(DUALML_TOKEN="0123456789abcdef")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(f"{address}/v2")


def test_a_server_for_everyone_without_a_token_warns(started):
    process, _ = started("--host", "0.0.0.0")
    process.terminate()
    assert process.wait(20) == 0
    assert process.stderr.read().startswith("dualml: warning: anyone who reaches 0.0.0.0")


def test_a_port_in_use(dualml_command, artefact):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = dualml_command("serve", artefact.path, "--port", port)
    assert outcome.code == 2
    assert (
        outcome.err == f"dualml: port {port} of 127.0.0.1 is in use; choose another with --port, or 0 for a free one\n"
    )


MISTAKES = {
    "no artefact": (["missing"], "does not exist"),
    "a file": (["file"], "is a file"),
    "name": (["{path}", "--name", "a/b"], "the name must be"),
    "version": (["{path}", "--model-version", ""], "the version must be"),
    "host": (["{path}", "--host", "192.0.2.1"], "no address of this machine"),
    "host name": (["{path}", "--host", "nowhere.invalid"], "must be an address of this machine"),
    "port": (["{path}", "--port", "70000"], "port must be"),
    "rows": (["{path}", "--max-rows", "0"], "rows must be at least 1"),
    "time": (["{path}", "--read-timeout", "nan"], "read_seconds must be"),
    "token file": (["{path}", "--token-file", "missing"], "must be a file with the token alone"),
    "token": (["{path}", "--token-file", "file"], "16 to 512"),
    "batching": (["{path}", "--batching", "maybe"], "'maybe'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_message(dualml_command, artefact, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("short")
    arguments, message = MISTAKES[case]
    outcome = dualml_command("serve", *(word.format(path=artefact.path) for word in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "httptools", "msgspec", "onnxruntime"])
def test_what_is_not_installed_is_named(artefact, missing):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = ['dualml', 'serve', {str(artefact.path)!r}, '--port', '0']\n"
        "from dualml.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert missing in done.stderr.lower().replace(" ", "")
    assert "pip install 'dualml[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
