"""entrorun's command line: where a prompt comes from, how the program ends, and what it says when it does not run."""

import ctypes
import json
import os
import resource
import shutil
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


@pytest.fixture(scope="module")
def endless(directory):
    """The same, said to be made for far more text than comes before a test ends it."""
    where = directory.parent / "endless"
    shutil.copytree(directory, where)
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").chmod(0o644)
    (where / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 100000}))
    return where


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("entrorun: ") and done.stderr.count("\n") == 1 and done.stderr.endswith("\n")
    for word in words:
        assert word in done.stderr


GREEDY = ("--no-chat", "--temp", "0", "-n", "12", "--no-perf")
ENDLESS = ("--ignore-eos", "-t", "1")
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
    refused(run("entrorun", "run", "-m", directory, stdin=subprocess.DEVNULL), 2, "-p", "-f")
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
    refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, "-c", "3"), 2, "-c", "3")
    refused(run("entrorun", "run", "-m", directory, "-p", "story " * 600), 2, "512")
    refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, "-c", "513"), 2, "513", "512")


def test_without_a_gpu_the_cpu_runs_the_model_unless_somebody_insists(run, directory):
    nowhere = {**os.environ, "ENTRORUN_CUDA_PLUGIN": "/nonexistent/plugin.so"}
    for options in (["-ngl", "99"], ["-ngl", "all"], ["--device", "cuda"]):
        refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, *options, env=nowhere), 3, "plug-in")
    refused(run("entrorun", "bench", "-m", directory, "--device", "CUDA0"), 2, "CUDA0", "cpu")
    refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, "-ngl", "half"), 2, "half")
    refused(run("entrorun", "run", "-m", directory, "-p", PROMPT, "-ngl", "0", "--device", "cuda"), 2, "exclude")
    for options in (["-ngl", "0"], ["--device", "cpu"], ["-dev", "auto", "-ngl", "auto"]):
        done = run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY[:-1], *options, env=nowhere, check=True)
        assert ("device:     the CPU: the GPU plug-in" in done.stderr) == ("auto" in options)


def test_without_a_driver_the_gpu_plug_in_and_its_libraries_are_not_even_loaded(program, directory, tmp_path):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("a driver is installed here")
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "libentrorun-cuda.so").write_bytes(b"no library")
    entrorun = shutil.copy(program("entrorun"), tmp_path)
    command = [entrorun, "run", "-m", directory, "-p", PROMPT, *GREEDY[:-1], "--device", "auto"]
    environment = {name: value for name, value in os.environ.items() if name != "ENTRORUN_CUDA_PLUGIN"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    assert "device:     the CPU: no NVIDIA driver is installed\n" in done.stderr


def test_options_mean_what_they_mean_to_llama_cpp(run, directory):
    expected = run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, check=True).stdout
    for options in (["--temp", "-1"], ["-t", "-1"], ["-b", "5", "-ub", "2"], ["-ub", "1"], ["--repeat-penalty", "1"], ["-s", "-1"]):
        assert run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, *options, check=True).stdout == expected, options
    assert run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, "--repeat-penalty", "3", "-n", "40", check=True).stdout != \
        run("entrorun", "run", "-m", directory, "-p", PROMPT, *GREEDY, "-n", "40", check=True).stdout
    escaped = run("entrorun", "run", "-m", directory, "-p", r"Once upon a time\n\"I", "-e", *GREEDY, check=True).stdout
    assert escaped == run("entrorun", "run", "-m", directory, "-p", 'Once upon a time\n"I', *GREEDY, check=True).stdout
    assert escaped != run("entrorun", "run", "-m", directory, "-p", r"Once upon a time\n\"I", *GREEDY, check=True).stdout
    done = run("entrorun", "run", "-m", directory, "-p", PROMPT, "--no-chat", "-s", "7", "-n", "16", "-v", check=True)
    assert "seed:       7" in done.stderr and "tokens:" in done.stderr and "first token" in done.stderr
    assert done.stdout == run("entrorun", "run", "-m", directory, "-p", PROMPT, "--no-chat", "-s", "7", "-n", "16", check=True).stdout


def test_every_command_teaches(run):
    overview = run("entrorun", "--help", check=True).stdout
    for command in ("run", "bench", "ppl", "imatrix", "tokenize", "info"):
        assert f"  {command} " in overview
        text = run("entrorun", command, "--help", check=True).stdout
        assert text.startswith(f"usage: entrorun {command} -m DIR") and "-h, --help" in text
        refused(run("entrorun", command, "-p" if command == "bench" else "--ids" if command == "tokenize" else "-m"), 2, "missing")
        refused(run("entrorun", command, "--nonsense"), 2, "--nonsense", "--help")
        refused(run("entrorun", command, *({"run": ["-p", "x"], "ppl": ["-p", "x"], "tokenize": ["-p", "x"]}.get(command, []))), 2, "-m DIR")


@pytest.fixture
def damaged(directory, tmp_path):
    """A copy of the model's directory that may be written to."""
    where = tmp_path / "damaged"
    shutil.copytree(directory, where)
    for path in where.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return where


COMMANDS = [("run", "-p", "x"), ("bench", "-p", "4", "-n", "0"), ("ppl", "-p", "x " * 100, "-c", "8"), ("tokenize", "-p", "x"), ("info",)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_directory_that_holds_no_model_is_refused(run, tmp_path, command):
    name, *arguments = command
    refused(run("entrorun", name, "-m", tmp_path, *arguments), 3, str(tmp_path))
    refused(run("entrorun", name, "-m", tmp_path / "none", *arguments), 3, "none")
    (tmp_path / "file").write_bytes(b"x")
    refused(run("entrorun", name, "-m", tmp_path / "file", *arguments), 3, "not a directory")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_tokenizer_of_another_model_is_refused(run, damaged, command):
    name, *arguments = command
    tokenizer = json.loads((damaged / "tokenizer.json").read_text())
    first = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"zz{i}": first + i for i in range(5000)}
    (damaged / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(run("entrorun", name, "-m", damaged, *arguments), 3, "tokenizer", "2048")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("run", "bench", "ppl")], ids=lambda c: c[0])
def test_weights_that_are_no_numbers_are_refused(program, run, tiny, tmp_path, command):
    name, *arguments = command
    subprocess.run([program("mkentrofs"), "--quiet", "--scheme", "lossless", tiny, tmp_path / "image"], check=True)
    subprocess.run([program("entrofsck"), "--quiet", "--extract", tmp_path / "model", tmp_path / "image"], check=True)
    path = tmp_path / "model" / "tensors" / "model.layers.3.mlp.down_proj.weight"
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(2000)
        file.write(b"\xc0\x7f")
    refused(run("entrorun", name, "-m", tmp_path / "model", *arguments), 3, "model.layers.3.mlp.down_proj.weight")


def test_too_little_memory_is_one_line(run, directory, endless):
    def limited(megabytes, *arguments):
        return run("entrorun", *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20)))

    if limited(64, "--version").returncode != 0:
        pytest.skip("a build that cannot live with little memory (sanitizers)")
    config = json.loads((endless / "config.json").read_text())
    (endless / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1 << 24}))
    refused(limited(4096, "run", "-m", endless, "-p", "x", "-t", "1"), 1, "-c")
    refused(limited(96, "bench", "-m", directory, "-p", "4", "-n", "0", "-t", "1"), 1, "memory")
    # With ever less something else is what there is no room for.
    for megabytes in range(26, 8, -2):
        done = limited(megabytes, "ppl", "-m", directory, "-p", "x " * 100, "-c", "8", "-t", "1")
        if done.returncode != 0:
            refused(done, 1)
    assert done.returncode == 1


def test_an_output_that_cannot_be_written_is_an_error(program, directory):
    commands = [["run", "-p", "x", "-n", "4"], ["info"], ["bench", "-p", "4", "-n", "0", "-r", "1"], ["bench", "-p", "4", "-n", "0", "-r", "1", "-o", "json"], ["ppl", "-p", "x " * 100, "-c", "8"], ["ppl", "-p", "x " * 100, "-c", "8", "--json"],
                ["tokenize", "-p", "x"], ["tokenize", "--ids", "5"], ["tokenize", "-p", "x", "--json"]]
    commands = [[*arguments, "-m", directory, *(["--device", "cpu"] if arguments[0] in ("bench", "ppl") else [])] for arguments in commands]
    for arguments in [*commands, ["--help"], *([name, "--help"] for name in ("run", "bench", "ppl", "imatrix", "tokenize", "info")), ["--version"]]:
        with open("/dev/full", "w") as full:
            done = subprocess.run([program("entrorun"), *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 4, arguments
        assert done.stderr.startswith("entrorun: ") and done.stderr.count("\n") == 1


def test_an_interruption_ends_the_text_where_it_is(program, endless):
    done = subprocess.Popen(
        [program("entrorun"), "run", "-m", endless, "--no-chat", "-p", PROMPT, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = done.stdout.read(1)
    done.send_signal(signal.SIGINT)
    rest, errors = done.communicate(timeout=60)
    assert done.returncode == 130
    assert (first + rest).endswith(b"\n")
    assert errors.decode().splitlines()[-1] == "entrorun: interrupted"


def test_a_reader_that_goes_away_ends_the_program(program, endless):
    done = subprocess.Popen(
        [program("entrorun"), "run", "-m", endless, "--no-chat", "-p", PROMPT, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    done.stdout.read(1)
    done.stdout.close()
    assert done.wait(timeout=60) == -signal.SIGPIPE
    done.stderr.close()
