"""entrorun's command line: where a prompt comes from, how the program ends, and what it says when it does not run."""

import os
import signal
import subprocess

import pytest


@pytest.fixture(scope="module")
def directory(program, tiny, tmp_path_factory):
    """The small model, extracted."""
    where = tmp_path_factory.mktemp("entrorun")
    subprocess.run([program("mkentrofs"), tiny, where / "tiny.entrofs"], check=True, capture_output=True)
    subprocess.run([program("entrofsck"), "--extract", where / "model", where / "tiny.entrofs"], check=True, capture_output=True)
    return where / "model"


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("entrorun: ") and done.stderr.count("\n") == 1 and done.stderr.endswith("\n")
    for word in words:
        assert word in done.stderr


GREEDY = ("--no-chat", "--temp", "0", "-n", "12", "--no-perf")
# Far more text than comes before a test ends it.
ENDLESS = ("--ignore-eos", "-c", "100000", "-t", "1")
PROMPT = "Once upon a time, in a small village,"


def test_a_prompt_is_the_same_from_an_argument_a_file_standard_input_and_a_pipe(run, directory, tmp_path):
    expected = run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, check=True).stdout
    file = tmp_path / "prompt.txt"
    file.write_text(PROMPT + "\n")
    assert run("entrorun", "run", "-m", directory, "-f", file, *GREEDY, check=True).stdout == expected
    assert run("entrorun", "run", "-m", directory, "-f", "-", *GREEDY, check=True, input=PROMPT + "\n").stdout == expected
    reader, writer = os.pipe()
    os.write(writer, PROMPT.encode() + b"\n")
    os.close(writer)
    done = run("entrorun", "run", "-m", directory, "-f", f"/dev/fd/{reader}", *GREEDY, check=True, pass_fds=[reader])
    os.close(reader)
    assert done.stdout == expected


def test_a_prompt_that_cannot_be_read_is_not_the_models_fault(run, directory, tmp_path):
    refused(run("entrorun", "run", "-m", directory, "-f", tmp_path / "none"), 2, f"{tmp_path}/none")
    refused(run("entrorun", "run", "-m", directory, "-f", tmp_path), 4, str(tmp_path))
    huge = tmp_path / "huge"
    with open(huge, "wb") as file:
        file.truncate(3 << 30)
    refused(run("entrorun", "run", "-m", directory, "-f", huge), 2, "huge")
    refused(run("entrorun", "run", "-m", directory), 2, "-p", "-f")
    refused(run("entrorun", "run", "-m", directory, "-p", "x", "--chat-template", "nonsense"), 2, "nonsense", "chatml")


def test_any_bytes_are_a_prompt(run, directory, tmp_path):
    file = tmp_path / "bytes"
    file.write_bytes(bytes(range(256)))
    assert run("entrorun", "run", "-m", directory, "-f", file, *GREEDY, check=True).stdout
    assert run("entrorun", "run", "-m", directory, "-f", os.devnull, *GREEDY, check=True).stdout


def test_the_text_is_the_same_with_any_number_of_threads(run, directory):
    texts = {run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, "-t", n, check=True).stdout for n in (1, 2, 3, 8, 64)}
    assert len(texts) == 1


def test_a_prompt_and_a_context_that_do_not_go_together_are_refused(run, directory):
    refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, "-c", "3"), 2, "-c")


def test_an_output_that_cannot_be_written_is_an_error(program, directory):
    commands = [["run", "-m", directory, "-p", "x", "-n", "4"], ["info", "-m", directory]]
    for arguments in [*commands, ["--help"], ["run", "--help"], ["info", "--help"], ["--version"]]:
        with open("/dev/full", "w") as full:
            done = subprocess.run([program("entrorun"), *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 4, arguments
        assert done.stderr.startswith("entrorun: ") and done.stderr.count("\n") == 1


def test_an_interruption_ends_the_text_where_it_is(program, directory):
    done = subprocess.Popen(
        [program("entrorun"), "run", "-m", directory, "--no-chat", "-p", PROMPT, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = done.stdout.read(1)
    done.send_signal(signal.SIGINT)
    rest, errors = done.communicate(timeout=60)
    assert done.returncode == 130
    assert (first + rest).endswith(b"\n")
    assert errors.decode().splitlines()[-1] == "entrorun: interrupted"


def test_a_reader_that_goes_away_ends_the_program(program, directory):
    done = subprocess.Popen(
        [program("entrorun"), "run", "-m", directory, "--no-chat", "-p", PROMPT, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    done.stdout.read(1)
    done.stdout.close()
    assert done.wait(timeout=60) == -signal.SIGPIPE
    done.stderr.close()
